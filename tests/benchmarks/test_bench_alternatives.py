"""`tinygpt bench`, as a person types it, with a second for each alternative."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import alternatives
from benchmarks.alternative_runs import Measured, table_cells
from benchmarks.alternatives import architectures, options, with_budget
from tests.conftest import wait_until
from tinygpt.cli import app
from tinygpt.data.rows import Row, write_rows
from tinygpt.training.config import PRESETS, TrainConfig

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
def test_architectures_are_compared_in_a_table_and_two_files(rows: Path, tmp_path: Path) -> None:
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
        assert one["curve"][-1][2] == one["validation_loss"] > 0
        assert one["curve"] == sorted(one["curve"])
        assert one["seconds"] >= 1
        assert one["tokens_per_second"] > 0
        assert f"{one['parameters'] / 1e6:.2f} M" in result.output
    assert report["settings"] | {"data": "rows.jsonl", "seconds": 1, "seeds": 1} == report["settings"]
    page = (out / "architectures.md").read_text()
    for name in NAMES:
        assert f"| {name} |" in page
        assert name in result.output


def test_ctrl_c_leaves_nothing_behind(rows: Path, tmp_path: Path) -> None:
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


def test_an_output_folder_that_is_a_file_is_refused_first(rows: Path) -> None:
    result = CliRunner().invoke(app, ["bench", "architectures", "--data", str(rows), "--out", str(rows)])

    assert result.exit_code == 1
    assert "is a file" in result.output


def test_alternatives_differ_in_one_thing_and_have_the_same_time() -> None:
    configs = with_budget(architectures(), 30.0, seed=2)

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


def test_an_option_differs_from_the_preset_in_itself_alone() -> None:
    configs = with_budget(options(batch_size=20), 30.0, seed=1)
    base = asdict(configs.pop("quick-start"))
    assert (base["batch_size"], base["max_seconds"], base["seed"]) == (20, 30.0, 1)

    def changed(config: TrainConfig) -> set[str]:
        values = asdict(config)
        of_model = {name for name, value in values["model"].items() if value != base["model"][name]}
        return of_model | {name for name, value in values.items() if name != "model" and value != base[name]}

    changes = {name: changed(config) for name, config in configs.items()}
    several = {"AdamW alone, 3e-3", "no weight decay", "rates halved", "rates doubled"}
    assert {name for name, options in changes.items() if len(options) != 1} == several
    # Everything that the preset adds to the tutorial is left out once.
    classic = asdict(PRESETS["classic"])
    departures = {name for name, value in classic["model"].items() if value != base["model"][name]}
    departures |= {name for name in ("optimizer", "precision", "decay_from") if classic[name] != base[name]}
    assert departures <= set().union(*changes.values())


def test_the_table_has_medians_over_seeds_and_the_range_of_the_end() -> None:
    runs = [
        Measured(
            "lstm", seed, loss, 1_000_000, steps, 60.0, 10.0, 30.0,
            [(10.0, 1, loss + 5), (20.0, 2, loss + 3), (30.0, 3, loss + 2), (61.0, steps, loss)],
        )
        for seed, loss, steps in ((0, 1.0, 10), (1, 1.5, 20), (2, 1.1, 30))
    ]  # fmt: skip

    assert table_cells(runs, 60.0) == [("lstm", "5.100", "3.100", "1.100 (1.000 to 1.500)", "1.00 M", "20", "30")]


@pytest.mark.timeout(300)
def test_options_are_compared_likewise(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = dict(list(options().items())[:2])
    monkeypatch.setattr(alternatives, "options", lambda _: two)

    result = CliRunner().invoke(
        app,
        ["bench", "options", "--data", str(rows), "--seconds", "1", "--seeds", "2", "--out", str(tmp_path)],
        env={"COLUMNS": "80"},
    )

    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "options.json").read_text())
    assert [(one["name"], one["seed"]) for one in report["measured"]] == [(n, s) for s in (0, 1) for n in two]
    table = result.output.partition("Wrote")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert all(word in table for word in ("quick-start", "learned", "positions", " to "))
    assert "| learned positions |" in (tmp_path / "options.md").read_text()


def test_without_the_folder_benchmarks_the_command_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "benchmarks.bench_alternatives", None)

    result = CliRunner().invoke(app, ["bench", "options"])

    assert result.exit_code == 1
    assert result.stderr == ("tinygpt: bench needs the folder benchmarks/: run it from a checkout of the repository.\n")


def test_the_commands_help_is_that_of_the_comparisons() -> None:
    result = CliRunner().invoke(app, ["bench", "--help"])

    assert result.exit_code == 0
    assert "architectures" in result.stdout
    assert "options" in result.stdout
