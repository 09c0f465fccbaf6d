"""Weights & Biases, offline. Needs the extra: `make test-tracking`."""

import contextlib
import threading
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from tests.training.tracking.followed import (
    CONFIG,
    at,
    follow,
    needs_wandb,
    their_own_warnings,
    warnings_in,
)
from tests.training.tracking.wandb_files import wandb_history
from tinygpt.training.callbacks import StopReason
from tinygpt.training.tracking import TrackerName, trackers
from tinygpt.training.tracking.wandb import WandbTracker


@needs_wandb
@their_own_warnings
def test_wandb_has_the_values_offline_and_resumes_the_same_run(tmp_path: Path, patient: None) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with capture_logs() as logs:
        with trackers(folder, CONFIG, [TrackerName.WANDB]) as callbacks:
            follow(callbacks, range(1, 21), evaluate=(20,), end=StopReason.STOP_REQUESTED)
        with trackers(folder, CONFIG, [TrackerName.WANDB]) as callbacks:
            follow(callbacks, range(21, 41), evaluate=(40,), end=StopReason.MAX_STEPS)

    assert warnings_in(logs) == []
    history = wandb_history(folder)
    assert sorted(history) == [10, 20, 30, 40]
    assert history[40]["loss/validation"] == pytest.approx(2 / 40)
    assert history[10]["loss/train"] == pytest.approx(1 / 10)
    assert history[10]["learning_rate_scale"] == pytest.approx(0.2)
    runs = {path.name.rpartition("-")[2] for path in folder.glob("wandb/offline-run-*")}
    assert runs == {(folder / "wandb_run_id").read_text()}


@needs_wandb
@their_own_warnings
def test_a_run_outlives_the_death_of_wandbs_service(tmp_path: Path) -> None:
    import wandb

    tracker = WandbTracker(tmp_path, CONFIG)
    with capture_logs() as logs:
        tracker.on_start(at(0))
        opened = threading.Event()
        tracker._attempt(opened.set)
        assert opened.wait(60)
        for child in psutil.Process().children(recursive=True):
            if child.name().startswith("wandb-core"):
                child.kill()
                child.wait()
        for step in range(1, 2001):
            tracker.on_step(at(step))
        tracker.on_end(at(2000), StopReason.MAX_STEPS)
        tracker.close()
    with contextlib.suppress(ConnectionError):
        wandb.teardown()  # later tests start another service

    assert warnings_in(logs) == ["WandbTracker"]
