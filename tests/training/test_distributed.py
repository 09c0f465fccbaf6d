"""Two processes under torchrun learn what one does, and end together."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import wait_until
from tests.training.checkpoints import differences, state_of
from tests.training.run_in_process import ROWS, VARIANTS, Curve
from tinygpt.contracts.errors import TrainingFailed
from tinygpt.data.rows import write_rows
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.training.distributed import ALONE, World, joined
from tinygpt.training.run import train

pytestmark = pytest.mark.timeout(900)
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


def run_in_two(variant: str, folder: Path, *what: str) -> int:
    """How a run in two processes ended."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [*TORCHRUN, "tests.training.run_in_process", variant, str(folder), *what]
    return subprocess.run(command, timeout=280, check=False).returncode


@pytest.fixture(scope="module")
def in_two(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a variant's run in two processes, made once."""
    folders: dict[str, Path] = {}

    def folder_of(variant: str) -> Path:
        if variant not in folders:
            folder = tmp_path_factory.mktemp("in-two")
            assert run_in_two(variant, folder) == 0
            folders[variant] = folder
        return folders[variant]

    return folder_of


@pytest.mark.parametrize(
    ("variant", "of_loss", "of_weights"),
    [
        ("without dropout", 2e-4, 1e-4),
        ("with a table", 5e-4, 5e-3),
        ("a row at a time", 2e-4, 1e-4),
        ("a row at a time, with a table", 5e-4, 5e-3),
    ],
)
def test_two_processes_have_the_loss_curve_and_the_weights_of_one(
    tmp_path: Path, in_two: Callable[[str], Path], variant: str, of_loss: float, of_weights: float
) -> None:
    alone, together = tmp_path / "alone", in_two(variant)
    alone.mkdir()
    train(VARIANTS[variant], ROWS, [Curve(alone / "curve.json")], folder=alone)

    curves = [json.loads((folder / "curve.json").read_text()) for folder in (alone, together)]
    assert len(curves[0]) == 20
    assert curves[1] == pytest.approx(curves[0], abs=of_loss)
    weights = [load_checkpoint(folder / "last.pt").model.state_dict() for folder in (alone, together)]
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=of_weights)
    assert {path.name for path in together.iterdir()} == {path.name for path in alone.iterdir()}


@pytest.mark.parametrize("rank", [0, 1])
def test_a_dead_process_ends_the_other_and_the_command_resumes_to_the_same_bits(
    tmp_path: Path, in_two: Callable[[str], Path], rank: int
) -> None:
    assert run_in_two("without dropout", tmp_path, "fail-at", str(rank), "10") != 0
    assert load_checkpoint(tmp_path / "last.pt").training["step"] == 7
    assert run_in_two("without dropout", tmp_path) == 0

    assert differences(state_of(tmp_path / "last.pt"), state_of(in_two("without dropout") / "last.pt")) == []


def test_ctrl_c_saves_once_and_ends_both(tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out"
    write_rows(rows, ROWS)
    options = ["--context-length", "32", "--batch-size", "8", "--max-steps", "1000000"]
    process = subprocess.Popen(
        [*TORCHRUN, "tinygpt", "train", str(rows), "--out", str(out), *options], stdout=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: list(out.glob("events.*")), "the first step is near", seconds=200)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=200)
    finally:
        process.terminate()  # torchrun takes its processes with it
        process.wait(timeout=60)

    assert process.returncode != 0
    assert output.count("Saving; Ctrl-C again to leave without saving.") == 1
    assert output.count("Stopped at step") == 1
    assert (out / "last.pt").exists()


def test_processes_with_different_rows_fail_before_weights_are_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World, "agree", lambda *_: False)
    monkeypatch.setattr(World, "broadcast_weights", lambda *_: pytest.fail("weights of two sizes would be sent"))

    with pytest.raises(TrainingFailed, match="disagree on the data or the settings: give all of them the same rows"):
        train(VARIANTS["with a table"], ROWS, folder=tmp_path)


def test_without_torchrun_a_process_is_alone() -> None:
    with joined() as world:
        assert world is ALONE
        assert not torch.distributed.is_initialized()
