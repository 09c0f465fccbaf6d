"""A tracker that breaks or hangs never costs the run."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.training.tracking.followed import CONFIG, follow, warnings_in
from tinygpt.training.callbacks import StopReason
from tinygpt.training.tracking import TrackerName, background


class Fragile(background.BackgroundTracker):
    """Calls `on_log` instead of logging."""

    name = TrackerName.WANDB

    def __init__(self, folder: Path, on_log: Callable[[int], object]) -> None:
        self.on_log = on_log
        super().__init__(folder, CONFIG)

    def _open(self, step: int) -> None:
        pass

    def _log(self, step: int, _values: Mapping[str, float]) -> None:
        self.on_log(step)

    def _finish(self, reason: StopReason | None) -> None:
        pass


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "check_installed", lambda _names: None)


def test_a_tracker_that_breaks_warns_once_and_is_left_out(tmp_path: Path, installed: None) -> None:
    steps = []

    def break_at_20(step: int) -> None:
        steps.append(step)
        if step == 20:
            raise ConnectionResetError("the service is gone")

    with capture_logs() as logs:
        tracker = Fragile(tmp_path, break_at_20)
        follow([tracker], range(1, 101), end=StopReason.MAX_STEPS)
        tracker.close()

    assert steps == [10, 20]
    assert warnings_in(logs) == ["Fragile"]


def test_a_tracker_that_hangs_is_left_behind(tmp_path: Path, installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_CLOSE_SECONDS", 0.1)
    released = threading.Event()
    with capture_logs() as logs:
        tracker = Fragile(tmp_path, lambda _step: released.wait(60))
        follow([tracker], range(1, 101), end=StopReason.MAX_STEPS)
        tracker.close()
    released.set()

    assert warnings_in(logs) == ["Fragile"]
