"""What is held out stays out: unseen values, unseen templates, unseen pairs, and no near-duplicate left."""

import re
from collections import Counter, defaultdict
from dataclasses import replace
from random import Random

import pytest
from rapidfuzz import fuzz

from tinygpt.data.rows import Row
from tinygpt_factory.build import build
from tinygpt_factory.families import all_families
from tinygpt_factory.invented import altered_name
from tinygpt_factory.kinds import (
    HELD_OUT,
    TRAIN,
    held_out_pairs,
    held_out_phrasing,
    is_held_out_value,
    kind_of,
    operation_pairs,
    training_phrasings,
    training_value,
)
from tinygpt_factory.leaks import SIMILAR, leaks, normalised
from tinygpt_factory.pools import POOLS
from tinygpt_factory.rendering import OF_A_KIND, draw
from tinygpt_factory.slots import Pool

FAMILIES = {family.name: family for family in all_families()}
UNSEEN_PAIRS = held_out_pairs(FAMILIES.values())


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return build(8_000)


def of(rows: list[Row], split: str) -> list[Row]:
    return [row for row in rows if kind_of(row) == split]


def test_every_split_has_its_share(rows: list[Row]) -> None:
    counts = Counter(kind_of(row) for row in rows)
    assert set(counts) == {TRAIN, *HELD_OUT}
    assert all(counts[split] == 200 for split in HELD_OUT)


def test_no_leak_is_left(rows: list[Row]) -> None:
    assert leaks(rows) == []


def test_no_leak_is_left_by_a_comparison_with_everything(rows: list[Row]) -> None:
    """The same, without the blocks that make it fast: same prompt, or same code and nearly the same prompt."""
    training = defaultdict(list)
    prompts = {normalised(row.prompt) for row in of(rows, TRAIN)}
    for row in of(rows, TRAIN):
        training["".join(row.code.split())].append(normalised(row.prompt))
    for row in rows:
        if kind_of(row) != TRAIN:
            assert normalised(row.prompt) not in prompts
            same_code = training["".join(row.code.split())]
            assert all(fuzz.ratio(normalised(row.prompt), prompt) < 97 for prompt in same_code)


def row(prompt: str, code: str, split: str, family: str = "lists.reverse") -> Row:
    return Row(prompt, code, {"family": family, "check": "", "split": split})


@pytest.mark.parametrize(
    "training",
    [
        row("Reverse the list prices!", "prices[::-1]", "train"),
        row("reverse  the list PRICES?", "prices[1:]", "train", "lists.other"),
        row("please reverse the list pricess", "prices[::-1]", "train"),
        row("how do i reverse the list prices", "prices[::-1]", "train"),
    ],
)
@pytest.mark.parametrize("split", HELD_OUT)
def test_a_planted_near_duplicate_is_found(training: Row, split: str) -> None:
    held_out = row("reverse the list prices", "prices[::-1]", split)
    assert leaks([training, held_out]) == [(training, held_out)]


def test_a_planted_row_among_all_is_found(rows: list[Row]) -> None:
    for split in HELD_OUT:
        held_out = of(rows, split)[0]
        planted = Row("please " + held_out.prompt, held_out.code, held_out.extra | {"split": TRAIN})
        assert leaks([*rows, planted]) == [(planted, held_out)]


def test_a_held_out_wording_with_other_names_is_a_leak_only_for_phrasings() -> None:
    training = row("mirror the list ages", "ages[::-1]", "train")
    held_out = row("mirror the list prices", "prices[::-1]", "held_out_phrasings")
    assert leaks([training, held_out])
    assert not leaks([training, replace(held_out, extra=held_out.extra | {"split": "held_out_slots"})])


def test_another_wording_is_no_leak() -> None:
    training = row("give me prices from the last to the first", "prices[::-1]", "train")
    assert not leaks([training, row("flip prices around", "prices[::-1]", "held_out_phrasings")])
    assert SIMILAR > 90


def test_training_never_draws_a_held_out_value() -> None:
    rng = Random(0)
    for family in FAMILIES.values():
        drawn = draw(family, rng.choice(training_phrasings(family)), rng, training_value)
        open_slots = [slot for slot in drawn.values if drawn.family.pool(slot).open]
        fixed = {family.fn, *OF_A_KIND, *(pool.default for pool in POOLS.values())}
        assert not [
            slot for slot in open_slots if is_held_out_value(drawn.values[slot]) and drawn.values[slot] not in fixed
        ]


def test_a_training_name_is_at_times_altered_and_never_from_a_held_out_one() -> None:
    rng = Random(0)
    held_out, known = (
        next(name for name in POOLS["xs"].values if is_held_out_value(name) is held) for held in (True, False)
    )

    assert {training_value(Pool((held_out,), alter=altered_name), rng) for _ in range(200)} == {None}
    drawn = [training_value(Pool((known,), alter=altered_name), rng) for _ in range(500)]
    assert 0.1 < sum(name not in (known, None) for name in drawn) / len(drawn) < 0.4


def test_training_prompts_never_name_a_held_out_variable(rows: list[Row]) -> None:
    names = {value for pool in POOLS.values() if pool.variable for value in pool.values if is_held_out_value(value)}
    odd = {name for name in names if "_" in name or any(letter.isdigit() or letter.isupper() for letter in name)}
    assert odd
    for row in of(rows, TRAIN):
        assert not odd & set(re.findall(r"\w+", row.prompt)), row


def test_every_held_out_slots_row_has_a_value_that_training_never_has(rows: list[Row]) -> None:
    seen = {token for row in of(rows, TRAIN) for token in re.findall(r"\w+", row.code)}
    unseen = [row for row in of(rows, "held_out_slots") if set(re.findall(r"\w+", row.code)) - seen]
    assert len(unseen) >= 0.9 * len(of(rows, "held_out_slots"))


def test_a_share_of_every_open_pool_is_held_out() -> None:
    for name, pool in POOLS.items():
        if pool.open and len(pool.values) >= 60:
            share = sum(map(is_held_out_value, pool.values)) / len(pool.values)
            assert 0.01 < share < 0.25, (name, share)


def test_a_whole_template_of_every_family_is_held_out() -> None:
    for family in FAMILIES.values():
        assert held_out_phrasing(family) not in training_phrasings(family)
        assert len(training_phrasings(family)) >= 7, family.name


def test_held_out_pairs_are_never_together_in_training(rows: list[Row]) -> None:
    assert UNSEEN_PAIRS
    for row in rows:
        unseen = operation_pairs(FAMILIES[row.extra["family"]]) & UNSEEN_PAIRS
        assert bool(unseen) == (kind_of(row) == "held_out_compositions"), row


def test_each_operation_of_a_held_out_pair_is_seen_in_other_pairs(rows: list[Row]) -> None:
    seen = {part for row in of(rows, TRAIN) for pair in operation_pairs(FAMILIES[row.extra["family"]]) for part in pair}
    assert {part for pair in UNSEEN_PAIRS for part in pair} <= seen
