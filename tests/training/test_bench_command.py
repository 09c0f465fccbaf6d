"""`tinygpt bench architectures`, as a person types it, with a second for each alternative."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.conftest import wait_until
from tinygpt.cli import app
from tinygpt.data.rows import Row, write_rows
from tinygpt.training.bake_off import Measured, Point, alternatives, table_cells

NAMES = [
    "transformer",
    "transformer, classic",
    "lstm",
    "mamba",
    "transformer, byte pairs",
    "transformer, unmasked loss",
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    too_long = [Row(f"{i} {'words ' * 60}", f"x + {i}") for i in range(40)]
    write_rows(path, [Row(f"add {i} to x", f"x + {i}") for i in range(40)] + too_long)
    return path


@pytest.mark.timeout(400)
def test_it_compares_every_alternative_in_one_table_and_two_files(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"

    result = CliRunner().invoke(
        app,
        ["bench", "architectures", "--data", str(rows), "--seconds", "1", "--out", str(out)],
        env={"COLUMNS": "80"},
    )

    assert result.exit_code == 0, result.output
    report = json.loads((out / "architectures.json").read_text())
    assert [one["name"] for one in report["measured"]] == NAMES
    for one in report["measured"]:
        assert one["curve"][-1]["validation_loss"] == one["validation_loss"] > 0
        assert [point["seconds"] for point in one["curve"]] == sorted(point["seconds"] for point in one["curve"])
        assert one["seconds"] >= 1
        assert one["tokens_per_second"] > 0
        assert f"{one['parameters']:,}" in result.output
    assert report["settings"] | {"data": "rows.jsonl", "seconds": 1, "seeds": 1} == report["settings"]
    page = (out / "architectures.md").read_text()
    for name in NAMES:
        assert f"| {name} |" in page
        assert name in result.output


def test_ctrl_c_ends_it_and_leaves_nothing_behind(rows: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    out = tmp_path / "results"
    command = ["bench", "architectures", "--data", str(rows), "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "typer", "tinygpt.cli", "run", *command],
        env={**os.environ, "TMPDIR": str(scratch)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        wait_until(lambda: any(scratch.glob("*/run-*")), "a run has begun", 60)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()

    assert process.returncode == 130, errors
    assert errors == "tinygpt: stopped; nothing was written.\n"
    assert not out.exists()
    assert list(scratch.glob("tinygpt-*")) == []


def test_an_output_folder_that_is_a_file_is_told_before_the_work(rows: Path) -> None:
    result = CliRunner().invoke(app, ["bench", "architectures", "--data", str(rows), "--out", str(rows)])

    assert result.exit_code == 1
    assert "is a file" in result.output


def test_alternatives_differ_in_one_thing_and_have_the_same_time() -> None:
    configs = alternatives(30.0, seed=2)

    assert list(configs) == NAMES
    assert {(c.max_seconds, c.max_steps, c.seed, c.model.context_length) for c in configs.values()} == {
        (30.0, None, 2, 256)
    }
    base = configs["transformer"]
    assert [configs[name].model.architecture for name in ("lstm", "mamba")] == ["lstm", "mamba"]
    assert configs["transformer, byte pairs"].model == configs["transformer, unmasked loss"].model == base.model
    assert (configs["transformer, byte pairs"].tokenizer, configs["transformer, unmasked loss"].masked) == (
        "byte_pair",
        False,
    )


def test_the_table_has_the_mean_and_the_range_over_seeds() -> None:
    runs = [
        Measured("lstm", seed, loss, 1000, steps, 60.0, 10.0, 30.0, [Point(60.0, steps, loss)])
        for seed, loss, steps in ((0, 1.0, 10), (1, 1.5, 20))
    ]

    assert table_cells(runs) == [("lstm", "1.250 (1.000 to 1.500)", "1,000", "15", "10", "30")]
