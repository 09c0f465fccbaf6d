"""Every family: its phrasings, its slots, and a check that passes right code and fails wrong code."""

import builtins
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tinygpt_factory.checks import run_check
from tinygpt_factory.families import Family, all_families
from tinygpt_factory.family import MINIMUM_PHRASINGS, gives
from tinygpt_factory.pools import POOLS
from tinygpt_factory.rendering import OF_A_KIND, Drawn, draw, expand, render
from tinygpt_factory.slots import Pool, slots_in
from tinygpt_factory.words import SYNONYMS, third_person

FAMILIES = all_families()
TOPICS = {
    "numbers", "strings", "lists", "dicts", "sets", "tuples", "loops", "conditions", "comprehensions", "functions",
    "classes", "recursion", "sorting", "searching", "files", "paths", "json", "csv", "dates", "regex", "errors",
    "printing", "formatting", "compositions", "plain", "everyday",
}  # fmt: skip


def anything(pool: Pool, rng: Random) -> str:
    return pool.draw(rng)


def draws(family: Family, count: int) -> list[Drawn]:
    rng = Random(family.name)
    return [draw(family, rng.choice(family.phrasings), rng, anything) for _ in range(count)]


def passes(code: str, check: str) -> bool:
    """Whether the check accepts the code, in a folder with nothing left from the check before."""
    for left in Path().iterdir():
        left.unlink()
    try:
        run_check(code, check)
    except Exception:
        return False
    return True


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_there_are_at_least_a_hundred_families_over_every_topic() -> None:
    assert len([family for family in FAMILIES if not family.name.startswith("compositions.")]) >= 100
    assert {family.name.split(".")[0] for family in FAMILIES} == TOPICS


def test_every_family_has_enough_distinct_phrasings() -> None:
    for family in FAMILIES:
        assert len({phrasing.text for phrasing in family.phrasings}) >= MINIMUM_PHRASINGS, family.name


def test_every_phrasing_expands_without_leftovers() -> None:
    rng = Random(0)
    for family in FAMILIES:
        for phrasing in family.phrasings:
            text = expand(phrasing.text, rng)
            assert text
            assert not set(text) & set("[]()|"), f"{family.name}: {text}"


def test_right_code_passes() -> None:
    for family in FAMILIES:
        for drawn in draws(family, 1 if family.wording else 3):
            assert passes(drawn.code, drawn.check), f"{drawn.prompt}\n{drawn.code}\n{drawn.check}"


def test_checks_put_back_what_they_replace() -> None:
    before = time.sleep, builtins.input
    for family in FAMILIES:
        if "time.sleep = " in family.check or "builtins.input = " in family.check:
            (drawn,) = draws(family, 1)
            assert passes(drawn.code, drawn.check)
            assert not passes("raise ValueError", drawn.check)
            assert (time.sleep, builtins.input) == before, family.name


def test_none_and_a_function_that_returns_none_fail() -> None:
    for family in FAMILIES:
        (drawn,) = draws(family, 1)
        assert not passes("None", drawn.check), family.name
        assert not passes("pass", drawn.check), family.name
        if "fn" in drawn.values:
            assert not passes(f"def {drawn.values['fn']}(*arguments):\n    return None", drawn.check), family.name


def other_values(drawn: Drawn, rng: Random) -> list[tuple[str, dict[str, str]]]:
    """The row's values with one of them changed, for each slot that the answer's behaviour depends on."""
    family = drawn.family
    free = set(family.variables) if family.is_function else set()
    changed = []
    for slot in sorted(set(drawn.values) - free):
        others = sorted(set(family.pool(slot).values) - set(drawn.values.values()))
        changed.append((slot, {**drawn.values, slot: rng.choice(others)}))
    return changed


def test_the_code_of_another_slot_fails() -> None:
    passed = Counter[tuple[str, str]]()
    for family in FAMILIES:
        rng = Random(family.name)
        for drawn in draws(family, 2):
            for slot, values in other_values(drawn, rng):
                code, _ = render(drawn.family, values)
                passed[family.name, slot] += passes(code, drawn.check)
    # A multiple of a number can share its answer on some lists: once is luck, twice is a weak check.
    assert not [key for key, times in passed.items() if times > 1]
    assert sum(passed.values()) <= 5, passed


def test_the_slots_of_the_code_are_in_the_prompt() -> None:
    for family in FAMILIES:
        for drawn in draws(family, 3):
            conventional = {pool.default for pool in POOLS.values()} | {*OF_A_KIND, family.fn}
            for slot, value in drawn.values.items():
                shown = drawn.shown.get(slot, value)
                assert shown in drawn.prompt or value in conventional, (slot, drawn.prompt)
                assert value in drawn.code


def test_two_slots_of_a_row_never_have_the_same_value() -> None:
    for family in FAMILIES:
        for drawn in draws(family, 2):
            assert len(set(drawn.values.values())) == len(drawn.values), drawn


def test_expressions_are_asked_for_as_functions_too() -> None:
    family = next(family for family in FAMILIES if family.name == "lists.reverse")
    drawn = draws(family, 400)
    named = [row for row in drawn if row.code.startswith("def ")]
    assert {row.code for row in named} > {"def reverse_list(lst):\n    return lst[::-1]"}
    assert any(row.code.startswith(f"def {row.values['fn']}(") and row.values["fn"] in row.prompt for row in named)
    assert len(named) < len(drawn) / 3


def test_what_the_prompt_does_not_name_has_a_conventional_name() -> None:
    reverse = next(family for family in FAMILIES if family.name == "lists.reverse")
    merge = next(family for family in FAMILIES if family.name == "dicts.merge")

    prompts = {row.prompt.lower(): row.code for row in (*draws(reverse, 6_000), *draws(merge, 6_000))}

    assert prompts["reverse a list"] == "lst[::-1]"
    assert prompts["merge two dictionaries"] == "{**a, **b}"


def test_an_answer_has_the_imports_it_needs_and_no_others() -> None:
    parse = next(family for family in FAMILIES if family.name == "json.parse")
    to_text = next(family for family in FAMILIES if family.name == "dates.to_text")

    assert all(row.code.startswith("import json\n") for row in draws(parse, 20))
    assert not [row.code for row in draws(to_text, 20) if "import" in row.code]


def test_wording_varies() -> None:
    for family in FAMILIES:
        assert len({drawn.prompt for drawn in draws(family, 20)}) >= 10, family.name


def test_no_name_in_a_pool_hides_a_builtin_or_a_module_that_code_uses() -> None:
    modules = {"re", "json", "csv", "math", "date", "datetime", "timedelta", "Path", "code"}
    used = modules | set(dir(builtins))
    assert not [value for pool in POOLS.values() if pool.variable for value in pool.values if value in used]


def test_values_are_one_line_without_spare_spaces() -> None:
    for name, pool in POOLS.items():
        assert len(set(pool.values)) == len(pool.values), name
        assert all(value == " ".join(value.split()) or value == " " for value in pool.values), name


def test_synonyms_have_no_blank_and_no_syntax() -> None:
    assert all(len(words) >= 2 for words in SYNONYMS.values())
    assert not [word for words in SYNONYMS.values() for word in words if set(word) & set("[]()|<>$")]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("count vowels", "counts vowels"),
        ("try it", "tries it"),
        ("play", "plays"),
        ("search x", "searches x"),
        ("do", "does"),
    ],
)
def test_third_person(request_: str, expected: str) -> None:
    assert third_person(request_) == expected


def test_a_family_with_too_few_phrasings_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 8"):
        Family(name="lists.none", do=("reverse <xs>",), code="$xs", check=gives(("$xs = [1]", "[1]")))


def test_a_phrasing_without_a_slot_of_the_code_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks k"):
        Family(name="lists.none", do=tuple(f"add to <xs> {i}" for i in range(8)), code="$xs + [$k]", check="")


def test_braces_end_a_slot_and_two_dollars_are_one() -> None:
    assert slots_in("$$5 {$n:.${c}f} $xs2") == ["n", "c", "xs2"]
