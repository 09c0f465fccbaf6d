"""A run whose process is killed resumes to the same bits."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.checkpoints import differences, state_of
from tests.training.run_in_process import ROWS, VARIANTS
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.training.run import train


def run(variant: str, folder: Path, *what: str) -> int:
    """How a run in a process of its own ended."""
    command = [sys.executable, "-m", "tests.training.run_in_process", variant, str(folder), *what]
    return subprocess.run(command, timeout=280, check=False).returncode


@pytest.mark.timeout(900)
@pytest.mark.parametrize("variant", ["plain", "modern in bf16", "as the presets in bf16", "as the presets in fp32"])
def test_a_process_killed_twice_leaves_what_the_uninterrupted_run_does(tmp_path: Path, variant: str) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    killed.mkdir()
    train(VARIANTS[variant], ROWS, folder=whole)

    assert run(variant, killed, "kill-at", "7", "0") == -signal.SIGKILL
    assert load_checkpoint(killed / "last.pt").training["step"] == 5
    assert run(variant, killed, "kill-at", "12", "3") == -signal.SIGKILL  # within a step, or a write
    assert 10 <= load_checkpoint(killed / "last.pt").training["step"] < 30
    assert run(variant, killed) == 0

    for name in ("last.pt", "best.pt"):
        assert differences(state_of(killed / name), state_of(whole / name)) == []
