"""`python -m tinygpt.classic`: it trains, then answers what comes through a pipe."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROWS = "".join(
    f'{{"prompt": "add {i} to {name}", "code": "{name} += {i}"}}\n' for i in range(8) for name in ("n", "total")
)


def test_it_trains_and_answers_a_prompt_through_a_pipe(rows: Path) -> None:
    ended = run(rows, "--seconds", "2", prompts="add 3 to n\nadd 4 to n\n")

    lines = ended.stdout.splitlines()
    assert ended.returncode == 0, ended.stderr
    assert "14 rows. 2 more are held out" in ended.stdout
    heading = max(i for i, line in enumerate(lines) if line.startswith("After 2 s: step "))
    assert [line.startswith("  add ") for line in lines[heading + 1 :][:3]] == [True] * 3
    assert "(learned): " in lines[heading + 1]
    assert "(held out): " in lines[heading + 2]
    assert len(lines) >= heading + 6


def test_an_empty_line_ends_it(rows: Path) -> None:
    assert run(rows, "--seconds", "0.1", prompts="\nadd 3 to n\n").stdout.splitlines()[-1].startswith("  add ")


def test_a_prompt_longer_than_the_context_is_refused(rows: Path) -> None:
    ended = run(rows, "--seconds", "0.1", prompts="x" * 254 + "\n")

    assert ended.stdout.splitlines()[-1] == "That leaves no room for an answer: the context has 256 tokens."


def test_ctrl_c_ends_the_training_and_not_the_answers(rows: Path) -> None:
    command = [sys.executable, "-m", "tinygpt.classic", str(rows), "--seconds", "1000"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("Before training"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate("x" * 254 + "\n", timeout=60)

    assert process.returncode == 0
    assert "Training ended early." in output
    assert output.splitlines()[-1].startswith("That leaves no room")


def test_rows_longer_than_the_context_are_left_out_and_counted(rows: Path) -> None:
    rows.write_text(ROWS + f'{{"prompt": "long", "code": "{"x" * 300}"}}\n')

    assert "Left out, as longer than 256 tokens: 1 rows." in run(rows, "--seconds", "0.1").stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"prompt": "a", "code": "b"}\n{"prompt": "a"}\n', "line 2: expected"),
        ("not JSON\n", "line 1: expected"),
        ("[]\n", "line 1: expected"),
        ('{"prompt": "a", "code": "b"}\n', "give at least 2 rows"),
        ("", "give at least 2 rows"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)

    ended = run(path)

    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    ended = run(tmp_path / "missing.jsonl")

    assert ended.returncode == 1
    assert "missing.jsonl" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_no_time_is_refused(rows: Path) -> None:
    ended = run(rows, "--seconds", "0")

    assert ended.returncode == 2
    assert "invalid positive value: '0'" in ended.stderr


def test_help_says_what_the_file_looks_like() -> None:
    ended = run(Path("--help"))

    assert ended.returncode == 0
    assert '{"prompt": "is n even", "code": "n % 2 == 0"}' in " ".join(ended.stdout.split())


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(ROWS)
    return path


def run(*arguments: object, prompts: str = "") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tinygpt.classic", *map(str, arguments)]
    return subprocess.run(command, input=prompts, capture_output=True, text=True, env=ENVIRONMENT, timeout=100)
