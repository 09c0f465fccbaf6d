"""The bundled files as they are shipped: what is held out is held out, and the prompts written by hand are among it."""

import json
from pathlib import Path

import pytest

from tinygpt.data.build import Row, run_check
from tinygpt.data.bundle import BEGINNER_FILE, CURATED_FILE, HELD_OUT_FILE, TRAIN_FILE, make_bundle
from tinygpt.data.split import BEGINNER, HELD_OUT, HeldOut, normalised

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


def test_no_training_row_gives_a_held_out_row_away(held_out: list[Row]) -> None:
    known = HeldOut(held_out)

    assert [row["prompt"] for row in rows_of(TRAIN_FILE) if known.leaked_by(row)] == []


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
