"""The bundled files as they are shipped: what is held out is held out, and the prompts written by hand are among it."""

import contextlib
import io
import json
import re
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import pytest

from tinygpt.contracts.errors import InvalidDataset
from tinygpt.data.bundled import HELD_OUT_FILE, bundled_rows
from tinygpt.data.rows import Row, read_rows
from tinygpt_factory.build import HELD_OUT_ROWS, Builder
from tinygpt_factory.bundle import BEGINNER_FILE, CURATED_FILE, EVERYDAY_FILE, make_bundle, unseen_words
from tinygpt_factory.checks import run_check
from tinygpt_factory.families import all_families
from tinygpt_factory.kinds import BEGINNER, EVERYDAY, HELD_OUT, Kind, kind_of
from tinygpt_factory.leaks import HeldOut, normalised, words_of

DATA = Path(__file__).resolve().parents[2] / "data"
BY_BEGINNERS: list[tuple[str, Kind]] = [(BEGINNER_FILE, BEGINNER), (EVERYDAY_FILE, EVERYDAY)]


TRAIN_FILE = "train.jsonl"


def rows_of(name: str) -> list[Row]:
    return read_rows(bundled_rows("bundled") if name == TRAIN_FILE else DATA / name)


@pytest.fixture(scope="module")
def held_out() -> list[Row]:
    return rows_of(HELD_OUT_FILE)


def test_every_kind_is_held_out(held_out: list[Row]) -> None:
    assert {kind_of(row) for row in held_out} == {*HELD_OUT, BEGINNER, EVERYDAY}


@pytest.mark.parametrize(("name", "kind"), BY_BEGINNERS)
def test_prompts_of_beginners_are_held_out_as_they_were_written(held_out: list[Row], name: str, kind: Kind) -> None:
    written = [replace(row, extra=row.extra | {"split": kind}) for row in rows_of(name)]

    assert [row for row in held_out if kind_of(row) == kind] == written
    assert len({normalised(row.prompt) for row in written}) == len(written) >= 100


@pytest.mark.parametrize(("name", "kind"), BY_BEGINNERS)
def test_the_checks_of_beginners_prompts_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: Kind
) -> None:
    monkeypatch.chdir(tmp_path)
    for row in rows_of(name):
        run_check(row.code, row.extra["check"])


def test_a_wrong_answer_fails_the_check_of_an_everyday_prompt() -> None:
    """Another row's code is a wrong answer, unless it is a right one in other words."""
    rows = [row for row in rows_of(EVERYDAY_FILE) if "sleep" not in row.code and "while" not in row.code]
    accepted = 0
    for row, other in zip(rows, [*rows[1:], rows[0]], strict=True):
        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
            run_check(other.code, row.extra["check"])
            accepted += 1

    assert accepted <= 2


@pytest.fixture(scope="module")
def training() -> list[Row]:
    return rows_of(TRAIN_FILE)


def test_there_are_as_many_different_rows_as_the_data_card_says(training: list[Row], held_out: list[Row]) -> None:
    files = {TRAIN_FILE: training, HELD_OUT_FILE: held_out}
    files |= {name: rows_of(name) for name in (CURATED_FILE, BEGINNER_FILE, EVERYDAY_FILE)}
    card = (DATA / "README.md").read_text(encoding="utf-8")

    counts = {name: int(count.replace(",", "")) for name, count in re.findall(r"^\| `(\S+)` \| ([\d,]+) ", card, re.M)}

    assert counts == {name: len({normalised(row.prompt) for row in rows}) for name, rows in files.items()}
    assert len(training) >= 20_000


def test_what_is_held_out_is_what_the_families_give_today(
    held_out: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where checks write
    builder = Builder(all_families(), check=True)

    drawn = [row for kind in HELD_OUT for row in builder.grow(kind, HELD_OUT_ROWS)]

    shipped = [row for row in held_out if kind_of(row) in HELD_OUT]
    assert sorted(row.to_json() for row in drawn) == sorted(row.to_json() for row in shipped)


def test_no_training_row_gives_a_held_out_row_away(training: list[Row], held_out: list[Row]) -> None:
    known = HeldOut(held_out)
    written = {row.prompt for row in rows_of(CURATED_FILE)}
    by_hand = list(takewhile(lambda row: row.prompt in written, training))

    assert [row for row in by_hand if known.leaked_by(row, by_hand=True)] == []
    assert [row for row in training if known.leaked_by(row)] == []
    assert len(by_hand) > 0.9 * len(written)


def test_every_row_of_unseen_values_has_one_that_no_training_code_has(training: list[Row], held_out: list[Row]) -> None:
    unseen = unseen_words(training, held_out)
    of_slots = [row for row in held_out if kind_of(row) == "held_out_slots"]

    without = [row.code for row in of_slots if words_of(row.code).isdisjoint(unseen)]

    assert len(without) <= 0.1 * len(of_slots)


def test_rows_written_by_hand_have_no_unseen_value(training: list[Row], held_out: list[Row]) -> None:
    by_hand = {row.prompt for row in rows_of(CURATED_FILE)}
    grown = [row for row in training if row.prompt not in by_hand]

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
            Row(
                held_out_prompt,
                code.format("old_ratings"),
                {"family": "families.name", "split": "held_out_phrasings"},
            )
        ]
    )
    row = Row(by_hand, code.format("data"), {"family": "a.name_of_its_own"})

    assert known.leaked_by(row) is None
    assert known.leaked_by(row, by_hand=True)


def test_rows_that_give_a_beginners_prompt_away_are_left_out(tmp_path: Path) -> None:
    asked = {"prompt": "spell word backwards", "code": "word[::-1]", "family": "strings.reverse", "check": "pass"}
    (tmp_path / BEGINNER_FILE).write_text(json.dumps(asked) + "\n")
    (tmp_path / EVERYDAY_FILE).write_text(json.dumps(asked | {"prompt": "word back to front please"}) + "\n")
    same_but_for_case = asked | {"prompt": "Spell word backwards!"}
    (tmp_path / CURATED_FILE).write_text(
        json.dumps(same_but_for_case) + "\n" + json.dumps(asked | {"prompt": "turn word around"}) + "\n"
    )

    bundle = make_bundle(tmp_path, rows=2_000)

    prompts = [row.prompt for row in bundle.training]
    assert "turn word around" in prompts
    assert not {"Spell word backwards!", "spell word backwards", "word back to front please"} & set(prompts)


@pytest.mark.parametrize("name", [CURATED_FILE, BEGINNER_FILE])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't be read: no such file"),
        ("no row\n", "line 1: not JSON"),
        ('{"prompt": "a", "code": "b", "check": "pass"}\n', "row 1 has no family"),
        ('{"prompt": "a", "code": "b", "family": "a.b"}\n', "row 1 has no check"),
    ],
    ids=["missing", "not rows", "no family", "no check"],
)
def test_a_bad_input_is_named_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str | None, said: str
) -> None:
    def build(*_: object, **__: object) -> list[Row]:
        raise AssertionError("rows were grown")

    monkeypatch.setattr("tinygpt_factory.bundle.build", build)
    for each in (CURATED_FILE, BEGINNER_FILE):
        (tmp_path / each).write_bytes((DATA / each).read_bytes())
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)

    with pytest.raises(InvalidDataset, match=f"(?i){name}.*{said}"):
        make_bundle(tmp_path, rows=2_000)
