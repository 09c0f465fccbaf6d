"""The bundled files as they are shipped: what is held out is held out, and the prompts written by hand are among it."""

import json
import re
from itertools import takewhile
from pathlib import Path

import pytest

from tinygpt_factory.build import HELD_OUT_ROWS, Builder, Row, run_check
from tinygpt_factory.bundle import (
    BEGINNER_FILE,
    CURATED_FILE,
    HELD_OUT_FILE,
    TRAIN_FILE,
    make_bundle,
    unseen_words,
)
from tinygpt_factory.families import all_families
from tinygpt_factory.split import BEGINNER, HELD_OUT, HeldOut, normalised, words_of

DATA = Path(__file__).resolve().parents[2] / "data"


def rows_of(name: str) -> list[Row]:
    with (DATA / name).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def held_out() -> list[Row]:
    return rows_of(HELD_OUT_FILE)


def test_every_kind_is_held_out(held_out: list[Row]) -> None:
    assert {row["split"] for row in held_out} == {*HELD_OUT, BEGINNER}


def test_the_beginners_prompts_are_held_out_as_they_were_written(held_out: list[Row]) -> None:
    written = [row | {"split": BEGINNER} for row in rows_of(BEGINNER_FILE)]

    assert [row for row in held_out if row["split"] == BEGINNER] == written
    assert len({normalised(row["prompt"]) for row in written}) == len(written) >= 100


def test_the_beginners_checks_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for row in rows_of(BEGINNER_FILE):
        run_check(row["code"], row["check"])


@pytest.fixture(scope="module")
def training() -> list[Row]:
    return rows_of(TRAIN_FILE)


def test_there_are_as_many_different_rows_as_the_data_card_says(training: list[Row], held_out: list[Row]) -> None:
    files = {TRAIN_FILE: training, HELD_OUT_FILE: held_out}
    files |= {name: rows_of(name) for name in (CURATED_FILE, BEGINNER_FILE)}
    card = (DATA / "README.md").read_text(encoding="utf-8")

    counts = {name: int(count.replace(",", "")) for name, count in re.findall(r"^\| `(\S+)` \| ([\d,]+) ", card, re.M)}

    assert counts == {name: len({normalised(row["prompt"]) for row in rows}) for name, rows in files.items()}
    assert len(training) >= 20_000


def test_what_is_held_out_is_what_the_families_give_today(
    held_out: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where checks write
    builder = Builder(all_families(), seed=0)

    drawn = [row for split in HELD_OUT for row in builder.grow(split, HELD_OUT_ROWS, None)]

    shipped = [row for row in held_out if row["split"] != BEGINNER]
    assert sorted(sorted(row.items()) for row in drawn) == sorted(sorted(row.items()) for row in shipped)


def test_no_training_row_gives_a_held_out_row_away(training: list[Row], held_out: list[Row]) -> None:
    known = HeldOut(held_out)
    written = {row["prompt"] for row in rows_of(CURATED_FILE)}
    by_hand = list(takewhile(lambda row: row["prompt"] in written, training))

    assert [row for row in by_hand if known.leaked_by(row, by_hand=True)] == []
    assert [row for row in training if known.leaked_by(row)] == []
    assert len(by_hand) > 0.9 * len(written)


def test_every_row_of_unseen_values_has_one_that_no_training_code_has(training: list[Row], held_out: list[Row]) -> None:
    unseen = unseen_words(training, held_out)
    of_slots = [row for row in held_out if row["split"] == "held_out_slots"]

    without = [row["code"] for row in of_slots if words_of(row["code"]).isdisjoint(unseen)]

    assert len(without) <= 0.1 * len(of_slots)


def test_rows_written_by_hand_have_no_unseen_value(training: list[Row], held_out: list[Row]) -> None:
    by_hand = {row["prompt"] for row in rows_of(CURATED_FILE)}
    grown = [row for row in training if row["prompt"] not in by_hand]

    assert unseen_words(grown, held_out) == unseen_words(training, held_out)


@pytest.mark.parametrize(
    ("by_hand", "held_out_prompt", "code"),
    [
        ("how do i get the keys of the dict data", "Can i get keys of the dict called old_ratings", "{}.keys()"),
        ("how do i sort data backwards", "write an expression to sort the list old_ratings backwards", "sorted({})"),
    ],
)
def test_a_wording_that_was_held_out_is_found_in_a_row_written_by_hand(
    by_hand: str, held_out_prompt: str, code: str
) -> None:
    known = HeldOut(
        [
            {
                "prompt": held_out_prompt,
                "code": code.format("old_ratings"),
                "family": "families.name",
                "split": "held_out_phrasings",
            }
        ]
    )
    row = {"prompt": by_hand, "code": code.format("data"), "family": "a.name_of_its_own"}

    assert known.leaked_by(row) is None
    assert known.leaked_by(row, by_hand=True)


def test_rows_that_give_a_beginners_prompt_away_are_left_out(tmp_path: Path) -> None:
    asked = {"prompt": "spell word backwards", "code": "word[::-1]", "family": "strings.reverse", "check": "pass"}
    (tmp_path / BEGINNER_FILE).write_text(json.dumps(asked) + "\n")
    same_but_for_case = asked | {"prompt": "Spell word backwards!"}
    (tmp_path / CURATED_FILE).write_text(
        json.dumps(same_but_for_case) + "\n" + json.dumps(asked | {"prompt": "turn word around"}) + "\n"
    )

    bundle = make_bundle(tmp_path, rows=2_000)

    prompts = [row["prompt"] for row in bundle.training]
    assert "turn word around" in prompts
    assert not {"Spell word backwards!", "spell word backwards"} & set(prompts)
