"""`tinygpt eval`, as a person types it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from tests.conftest import wait_until
from tests.scripted_model import scripted_model
from tinygpt.cli import app
from tinygpt.contracts.models import BEST_CHECKPOINT, TRAINING_ROWS
from tinygpt.data.rows import Row, write_rows
from tinygpt.evaluation.report import EvaluationReport
from tinygpt.model.checkpoint import Checkpoint, save_checkpoint

PROMPT = "reverse the list nums"
CHECK = "nums = [1, 2]\nassert eval(code) == [2, 1]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers `PROMPT` rightly, and rows."""
    folder = tmp_path_factory.mktemp("model")
    model, tokenizer = scripted_model("nums[::-1]", prompt=PROMPT)
    save_checkpoint(Checkpoint(model, tokenizer), folder / BEST_CHECKPOINT)
    write_rows(folder / TRAINING_ROWS, [Row("reverse the list xs", "xs[::-1]")])
    rows = [
        Row(PROMPT, "nums[::-1]", {"check": CHECK, "family": "lists.reverse", "split": "held_out_slots"}),
        Row(PROMPT + "!", "nums[::-1]", {"check": CHECK, "family": "lists.reverse", "split": "held_out_phrasings"}),
    ]
    write_rows(folder / "rows.jsonl", rows)
    return folder


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["eval", "--workers", "1", *map(str, arguments)], env={"COLUMNS": "120"})
    return result.exit_code, result.output


def test_it_reports_on_the_terminal_and_in_files(folder: Path, tmp_path: Path) -> None:
    json, html = tmp_path / "new" / "r.json", tmp_path / "r.html"

    code, output = run("--model", folder, "--data", folder / "rows.jsonl", "--json", json, "--html", html)

    assert code == 0, output
    assert "held_out_slots" in output
    assert "seccomp" in output or sys.platform != "linux"
    report = EvaluationReport.model_validate_json(json.read_text())
    assert {group.name: group.model.pass_at_1 for group in report.by_split}["held_out_slots"] == 1
    assert html.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_a_model_is_evaluated_with_the_weights_that_it_would_be_served_with(
    folder: Path, tmp_path: Path, weights: str
) -> None:
    json = tmp_path / "r.json"

    assert run("--model", folder, "--data", folder / "rows.jsonl", "--weights", weights, "--json", json)[0] == 0
    assert EvaluationReport.model_validate_json(json.read_text()).by_split[1].model.pass_at_1 == 1
    assert run("--model", folder, "--data", folder / "rows.jsonl", "--weights", "int3")[0] == 2


def test_a_split_and_a_limit_choose_rows(folder: Path, tmp_path: Path) -> None:
    json = tmp_path / "r.json"
    data = folder / "rows.jsonl"

    assert run("--model", folder, "--data", data, "--split", "held_out_slots", "--json", json)[0] == 0
    assert EvaluationReport.model_validate_json(json.read_text()).overall.rows == 1
    assert run("--model", folder, "--data", data, "--limit", "1", "--json", json)[0] == 0
    assert EvaluationReport.model_validate_json(json.read_text()).overall.rows == 1


def test_what_can_not_be_done_is_said_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    data = folder / "rows.jsonl"
    bare = tmp_path / "bare.jsonl"
    write_rows(bare, [Row("a", "b")])
    cases: list[tuple[list[str | Path], str]] = [
        (["--model", tmp_path / "none", "--data", data], "does not exist"),
        (["--model", data, "--data", data], "is truncated or is no checkpoint at all"),
        (["--model", folder, "--data", tmp_path / "none.jsonl"], "can't be read"),
        (["--model", folder, "--data", data, "--split", "x"], "there are held_out_phrasings, held_out_slots"),
        (["--model", folder, "--data", bare, "--split", "x"], "name no split at all"),
        (["--model", folder, "--data", bare], "has a `check`"),
        (["--model", folder, "--data", data, "--json", tmp_path], "name a file in it"),
    ]
    for arguments, says in cases:
        code, output = run(*arguments)
        assert code == 1, output
        assert says in output
        assert "Traceback" not in output
        assert output.startswith("tinygpt: ")
    assert run("--model", folder, "--data", data, "--samples", "3")[0] == 2


def test_the_help_says_what_the_sandbox_is_not() -> None:
    assert "It is not a virtual machine" in " ".join(run("--help")[1].split())


def test_ctrl_c_stops_cleanly(folder: Path, tmp_path: Path) -> None:
    slow = tmp_path / "slow.jsonl"
    write_rows(slow, [Row("sleep", "1", {"check": "import time\ntime.sleep(9)"})])
    process = subprocess.Popen(
        [sys.executable, "-m", "typer", "tinygpt.cli", "run", "eval", "--model", str(folder), "--data", str(slow)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        me = psutil.Process(process.pid)
        wait_until(lambda: len(me.children(recursive=True)) >= 2, "a check is running")
        below = me.children(recursive=True)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert errors == "tinygpt: stopped; nothing was written.\n"
    wait_until(lambda: not any(child.is_running() for child in below), "the helpers are gone", 10)
