"""The builder: the same rows from the same seed, distinct, proven, and stopped by the first wrong one."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tinygpt.data.rows import Row, write_rows
from tinygpt_factory.build import build
from tinygpt_factory.checks import BuildFailed
from tinygpt_factory.drawing import MAX_LENGTH
from tinygpt_factory.families import Family, all_families
from tinygpt_factory.kinds import HELD_OUT, TRAIN, kind_of
from tinygpt_factory.leaks import normalised
from tinygpt_factory.weights import EVERYDAY, weight_of

ROWS = 3_000
DATA = Path(__file__).resolve().parents[2] / "data"


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return build(ROWS, check=True)


def test_the_number_of_rows_is_the_one_asked_for(rows: list[Row]) -> None:
    assert len(rows) == ROWS
    assert all(set(row.extra) == {"family", "check", "split"} for row in rows)


def test_the_same_seed_gives_the_same_file_byte_for_byte(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_rows(tmp_path / name, build(400, seed=7))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_hash_randomisation_does_not_change_the_rows(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from tinygpt_factory.build import build;"
    program += "from tinygpt.data.rows import write_rows; write_rows(Path(sys.argv[1]), build(400))"
    environment = {**os.environ, "PYTHONHASHSEED": "12", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "other")], env=environment, check=True)
    write_rows(tmp_path / "this", build(400))
    assert (tmp_path / "this").read_bytes() == (tmp_path / "other").read_bytes()


def test_the_rows_do_not_depend_on_the_number_of_processes() -> None:
    assert build(9_000, processes=1) == build(9_000, processes=3)


def test_a_check_that_fails_in_another_process_stops_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygpt_factory.processes._FEW_ROWS", 0)
    with pytest.raises(BuildFailed, match=r"lists.reverse: the check fails: AssertionError\(\)") as failure:
        build(20, families=[replace(family("lists.reverse"), code="$xs[::1]")], check=True, processes=2)
    assert failure.value.code.endswith("[::1]")


def test_rows_that_are_not_checked_have_a_check_only_where_held_out(rows: list[Row]) -> None:
    unchecked = build(ROWS)
    assert all(("check" in row.extra) == (kind_of(row) != TRAIN) for row in unchecked)
    assert [(row.prompt, row.code) for row in unchecked] == [(row.prompt, row.code) for row in rows]


def test_another_seed_gives_other_rows(rows: list[Row]) -> None:
    assert {row.prompt for row in build(300, seed=1)} != {row.prompt for row in build(300, seed=2)}


def test_every_prompt_is_there_once_and_so_has_one_code(rows: list[Row]) -> None:
    assert len({normalised(row.prompt) for row in rows}) == len(rows)


def test_rows_are_short_and_parse(rows: list[Row]) -> None:
    for row in rows:
        assert len(row.prompt) + len(row.code) <= MAX_LENGTH
        compile(row.code, "<code>", "exec")
        assert row.prompt == " ".join(row.prompt.split())
        assert not set(row.prompt + row.code) & set("\t\r\0")


def test_families_are_balanced_by_weight(rows: list[Row]) -> None:
    counts = Counter(row.extra["family"] for row in rows if kind_of(row) == "train")
    whole = [counts[family.name] for family in all_families() if weight_of(family, "train") == 1.0]
    everyday = [counts[family.name] for family in all_families() if weight_of(family, "train") == EVERYDAY]
    assert min(whole) >= 0.5 * max(whole)
    assert sum(everyday) / len(everyday) >= 1.5 * sum(whole) / len(whole)


def test_training_rows_are_mistyped_more_often_than_those_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygpt_factory.drawing.TRAINING_TYPO", 1.0)
    monkeypatch.setattr("tinygpt_factory.drawing.TYPO", 0.0)
    phrasings = (
        *(f"surely {verb} $msg" for verb in ["print", "show", "write", "display"]),
        *(f"$msg {i}" for i in "abcd"),
    )
    family = Family(name="test.shout", say=phrasings, code='print("$msg")', check="pass")
    rows = [row for row in build(600, families=[family]) if row.prompt.split()[0].lower()[:2] == "su"]

    asked = {split: [row for row in rows if kind_of(row) == split] for split in ("train", "held_out_slots")}
    assert all(row.prompt.lower().startswith("surely ") for row in asked["held_out_slots"])
    assert len(asked["held_out_slots"]) > 0
    assert not all(row.prompt.lower().startswith("surely ") for row in asked["train"])


def test_phrases_are_altered_in_training_and_not_in_what_is_held_out() -> None:
    phrasings = tuple(f"{verb} $msg" for verb in ["print", "show", "write", "display", "output", "echo", "say", "tell"])
    rows = build(3_000, families=[Family(name="test.shout", say=phrasings, code='print("$msg")', check="pass")])

    phrases = {split: [row.code[7:-2] for row in rows if kind_of(row) == split] for split in (TRAIN, *HELD_OUT)}
    altered = {split: {p for p in of if p.startswith("i love ")} - {"i love python"} for split, of in phrases.items()}
    assert altered.pop(TRAIN)
    assert not any(altered.values())


def test_the_working_folder_is_given_back_and_left_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    build(300, check=True)
    assert Path.cwd() == tmp_path
    assert not list(tmp_path.iterdir())


def family(name: str) -> Family:
    return next(family for family in all_families() if family.name == name)


def test_a_row_that_fails_its_check_stops_the_build() -> None:
    wrong = replace(family("lists.reverse"), code="$xs[::1]")
    with pytest.raises(BuildFailed) as failure:
        build(20, families=[wrong], check=True)
    assert failure.value.family == "lists.reverse"
    assert failure.value.prompt in str(failure.value)
    assert failure.value.code.endswith("[::1]")
    assert failure.value.code in str(failure.value)
    assert "AssertionError" in failure.value.reason


def test_code_that_does_not_parse_stops_the_build() -> None:
    with pytest.raises(BuildFailed, match="SyntaxError"):
        build(20, families=[replace(family("strings.upper"), code="$s.upper(")], check=True)


def test_two_answers_to_one_prompt_stop_the_build() -> None:
    first = replace(family("dates.today"), do=tuple("abcdefgh"), say=())
    second = replace(first, name="dates.other", code="date.today() + timedelta(0)",
                     imports="from datetime import date, timedelta")  # fmt: skip
    with pytest.raises(BuildFailed, match="answers this prompt with another code"):
        build(400, families=[first, second])


def test_families_that_run_dry_stop_the_build() -> None:
    with pytest.raises(BuildFailed, match="distinct rows"):
        build(5_000, families=[replace(family("dates.today"), do=tuple("abcdefgh"), say=())])
