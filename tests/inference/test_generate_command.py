"""`tinygpt generate`, as a person types it: with its output piped, and on a terminal."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.scripted_model import scripted_model
from tinygpt.cli import app
from tinygpt.contracts.generation import GenerateResponse
from tinygpt.contracts.models import BEST_CHECKPOINT, TRAINING_ROWS
from tinygpt.data.rows import Row, write_rows
from tinygpt.model.checkpoint import Checkpoint, save_checkpoint
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT

PROMPT = "reverse the list nums"


def saved(folder: Path, answer: str, *, ends: bool = True, context_length: int = 128) -> Path:
    """A model that answers `PROMPT` with `answer`, and its training rows."""
    model, tokenizer = scripted_model(answer, prompt=PROMPT, ends=ends, context_length=context_length)
    save_checkpoint(Checkpoint(model, tokenizer), folder / BEST_CHECKPOINT)
    write_rows(folder / TRAINING_ROWS, [Row("reverse the list items", "items[::-1]")])
    return folder


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error, both piped."""
    result = CliRunner().invoke(app, ["generate", PROMPT, "--model", str(folder), *arguments])
    return result.exit_code, result.stdout, result.stderr


def on_a_terminal(folder: Path, *arguments: str, interrupted_after: str | None = None) -> tuple[int, str]:
    """Exit code and what a terminal shows. Ctrl-C is pressed once `interrupted_after` is seen."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tinygpt", "generate", PROMPT, "--model", str(folder), *arguments]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True)
    os.close(theirs)
    seen, deadline = b"", time.monotonic() + 100
    try:
        while chunk := _read(ours):
            seen += chunk
            assert time.monotonic() < deadline
            if interrupted_after is not None and interrupted_after.encode() in seen:
                process.send_signal(signal.SIGINT)
                interrupted_after = None
        code = process.wait(timeout=30)
    finally:
        process.kill()
        os.close(ours)
    return code, seen.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux: the other side is closed
        return b""


def test_the_code_is_all_that_standard_output_gets(tmp_path: Path) -> None:
    assert run(saved(tmp_path, "nums[::-1]")) == (0, "nums[::-1]\n", "")
    assert run(saved(tmp_path, "nums[::-1]"), "--max-new-tokens", "9") == (0, "nums[::-1]\n", "")
    assert run(saved(tmp_path, "nums[::-1]"), "--stop", "::", "--stop", "x", "--no-post-process") == (0, "nums[\n", "")


def test_a_retrieved_or_missing_answer_is_explained_on_standard_error(tmp_path: Path) -> None:
    code, output, errors = run(saved(tmp_path, ""))
    assert (code, output) == (0, "items[::-1]\n")
    assert "nearest training prompt" in errors

    code, output, errors = run(saved(tmp_path, ""), "--fallback", "never")
    assert (code, output) == (1, "")
    assert errors == "tinygpt: No answer: the model's text is empty.\n"


def test_json_has_the_whole_answer(tmp_path: Path) -> None:
    code, output, _ = run(saved(tmp_path, "nums[::-1]"), "--json", "--logprobs", "2", "--n", "2")

    answer = GenerateResponse.model_validate(json.loads(output))
    assert code == 0
    assert answer.model == str(tmp_path / BEST_CHECKPOINT)
    assert [choice.code for choice in answer.choices or []] == ["nums[::-1]"] * 2
    assert [len(token.top) for token in answer.logprobs or []] == [2] * len("nums[::-1]")


def test_several_answers_are_numbered(tmp_path: Path) -> None:
    assert run(saved(tmp_path, "nums"), "--n", "2")[:2] == (0, "# 1 of 2\nnums\n# 2 of 2\nnums\n")


@pytest.mark.parametrize("beams", ["1", "4"])
def test_beam_search_answers_too(tmp_path: Path, beams: str) -> None:
    assert run(saved(tmp_path, "nums[::-1]"), "--beams", beams) == (0, "nums[::-1]\n", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--temperature", "3"], "--temperature"),
        (["--top-k", "-1"], "--top-k"),
        (["--stop", ""], "--stop"),
        (["--beams", "2", "--temperature", "1"], "--beams"),
        (["--fallback", "maybe"], "--fallback"),
    ],
)
def test_an_option_out_of_range_is_named(tmp_path: Path, arguments: list[str], says: str) -> None:
    code, _, errors = run(saved(tmp_path, "nums"), *arguments)

    assert code == 2
    assert says in errors


def test_a_prompt_that_is_too_long_is_one_sentence(tmp_path: Path) -> None:
    folder = saved(tmp_path, "", context_length=24)
    result = CliRunner().invoke(app, ["generate", "x" * 30, "--model", str(folder)])

    assert result.exit_code == 1
    assert result.stderr.startswith("tinygpt: The prompt has 30 characters")


def test_a_terminal_shows_the_text_and_what_completes_it_once(tmp_path: Path) -> None:
    assert on_a_terminal(saved(tmp_path, "nums[::-1]")) == (0, "nums[::-1]\n")
    assert on_a_terminal(saved(tmp_path, "nums[::-1]"), "--max-new-tokens", "9") == (0, "nums[::-1]\n")


def test_a_terminal_shows_the_answer_below_a_text_that_cannot_be_used(tmp_path: Path) -> None:
    code, shown = on_a_terminal(saved(tmp_path, ")))"))

    assert code == 0
    assert shown.split("\n")[:3] == [")))", "tinygpt: that can't be used as it is. The answer instead:", "items[::-1]"]
    assert "nearest training prompt" in shown.split("\n")[3]


def test_ctrl_c_ends_it_while_it_writes(tmp_path: Path) -> None:
    """With an LSTM, whose long text takes PyTorch minutes."""
    _, tokenizer = scripted_model("", prompt=PROMPT)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, context_length=100_000, layers=1, heads=1, width=8, architecture="lstm"
    )
    model = TinyGPT(config).eval()
    with torch.no_grad():
        model.final_norm.weight.zero_()
        model.final_norm.bias.fill_(1.0)
        model.head.weight.zero_()
        model.head.weight[tokenizer.encode("a")[0]] = 1.0
    save_checkpoint(Checkpoint(model, tokenizer), tmp_path / BEST_CHECKPOINT)

    code, shown = on_a_terminal(tmp_path, "--max-new-tokens", "4096", interrupted_after="aaaa")

    assert code == 130
    assert shown.rstrip().endswith("tinygpt: stopped.")
    assert "Traceback" not in shown
