"""What a run makes of its evaluations: gains, patience, the best checkpoint."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.small_runs import CONFIG, ROWS, StopAfter, Witness, metrics_of
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.training import run
from tinygpt.training.callbacks import StopReason
from tinygpt.training.run import TrainResult, train

PATIENT = replace(CONFIG, decay_from=0.0, max_steps=20, evaluations=10, patience=2)
"""An evaluation after every second step."""


class Losses:
    """Stands in for `validation_loss`: the given losses, one for each evaluation."""

    def __init__(self, losses: Sequence[float], monkeypatch: pytest.MonkeyPatch) -> None:
        self._losses: Iterator[float] = iter(losses)
        monkeypatch.setattr(run, "validation_loss", self)

    def __call__(self, *_arguments: Any) -> float:
        return next(self._losses)


def stopped_at(result: TrainResult, folder: Path) -> tuple[StopReason, int, int]:
    """Why and at which step the run ended, and the step of its best checkpoint."""
    return result.reason, result.steps, load_checkpoint(folder / "best.pt").training["step"]


@pytest.mark.parametrize(
    ("losses", "end"),
    [
        ([5, 6, 7], (StopReason.PATIENCE, 6, 2)),
        ([5, 6, 4, 6, 3, 6, 7], (StopReason.PATIENCE, 14, 10)),
        ([5, 4, 3, 3, 3], (StopReason.PATIENCE, 10, 6)),
        ([9, 8, 7, 6, 5, 4, 3, 2, 1, 2], (StopReason.MAX_STEPS, 20, 18)),
    ],
    ids=["no gain", "a gain renews it", "a tie is no gain", "gains to the end"],
)
def test_patience_counts_evaluations_in_a_row_without_a_gain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: list[float], end: tuple[StopReason, int, int]
) -> None:
    Losses(losses, monkeypatch)

    assert stopped_at(train(PATIENT, ROWS, folder=tmp_path), tmp_path) == end


def test_a_resumed_run_keeps_its_best_loss_and_its_patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Losses([3, 4, 3.5, 9], monkeypatch)
    train(PATIENT, ROWS, [StopAfter(4)], folder=tmp_path)
    result = train(PATIENT, ROWS, folder=tmp_path)

    assert stopped_at(result, tmp_path) == (StopReason.PATIENCE, 6, 2)
    assert metrics_of(result).validation_loss == 3


def test_progress_has_the_last_loss_and_the_best_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Losses([5, 3, 4], monkeypatch)
    witness = Witness()
    train(replace(PATIENT, max_steps=3, evaluations=3), ROWS, [witness], folder=tmp_path)

    losses = [(progress.validation_loss, progress.best_validation_loss) for progress in witness.evaluations]
    assert losses == [(5, 5), (3, 3), (4, 3)]


def test_before_the_decay_a_missing_gain_costs_no_patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Losses([1, 2, 2, 2, 2, 2, 2], monkeypatch)

    result = train(replace(PATIENT, decay_from=0.5), ROWS, folder=tmp_path)

    assert stopped_at(result, tmp_path) == (StopReason.PATIENCE, 14, 2)
