"""Event files: what they hold, how a resumed run continues, and a full disk."""

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.full_disk import full_disk
from tests.training.tracking.followed import CONFIG, STEP_VALUES, at, events_of, follow, points_of, warnings_in
from tinygpt.training.callbacks import StopReason
from tinygpt.training.tracking import TrackerName, tensorboard, trackers
from tinygpt.training.tracking.tensorboard import TensorBoardTracker
from tinygpt.training.tracking.tracker import hyperparameters


def test_event_files_have_every_tenth_step_and_every_evaluation(tmp_path: Path) -> None:
    with trackers(tmp_path, CONFIG) as callbacks:
        follow(callbacks, range(1, 31), evaluate=(15, 30), end=StopReason.MAX_STEPS)

    points = points_of(tmp_path)
    assert set(points) == STEP_VALUES | {"loss/validation"}
    assert points["loss/train"] == pytest.approx({10: 1 / 10, 20: 1 / 20, 30: 1 / 30})
    assert points["loss/validation"] == pytest.approx({15: 2 / 15, 30: 2 / 30})
    assert points["tokens_per_second"] == {10: 1000, 20: 1000, 30: 1000}
    # The warm-up takes fifty steps; the thirtieth step has used 29 of the budget's 40.
    assert points["learning_rate_scale"] == pytest.approx({10: 0.2, 20: 0.4, 30: 1 - 29 / 40})


def test_event_files_have_the_hyperparameters(tmp_path: Path) -> None:
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    with trackers(tmp_path, replace(CONFIG, threads=2)) as callbacks:
        follow(callbacks, range(1, 2))

    contents = [value.metadata.plugin_data.content for event in events_of(tmp_path) for value in event.summary.value]
    found = [HParamsPluginData.FromString(content).session_start_info.hparams for content in contents if content]
    hparams = next(each for each in found if each)
    assert hparams["batch_size"].number_value == CONFIG.batch_size
    assert hparams["model.width"].number_value == CONFIG.model.width
    assert hparams["optimizer"].string_value == CONFIG.optimizer
    assert set(hparams) == set(hyperparameters(CONFIG))
    assert not {"threads", "max_seconds", "model.vocab_size"} & set(hparams)


def test_a_resumed_run_uses_the_same_folder_and_hides_lost_points(tmp_path: Path) -> None:
    """Twice within a second, the time in an event file's name."""
    with trackers(tmp_path, CONFIG) as callbacks:
        follow(callbacks, range(1, 41), evaluate=(20, 40))
    with trackers(tmp_path, CONFIG) as callbacks:
        follow(callbacks, range(21, 61), evaluate=(60,), end=StopReason.MAX_STEPS)

    assert len(list(tmp_path.glob("*tfevents*"))) == 2
    assert sorted(points_of(tmp_path)["loss/train"]) == [10, 20, 30, 40, 50, 60]
    assert sorted(points_of(tmp_path)["loss/validation"]) == [20, 40, 60]
    from tensorboardX.proto.event_pb2 import SessionLog

    starts = [event.step for event in events_of(tmp_path) if event.session_log.status == SessionLog.START]
    assert starts == [1, 21]


def test_tensorboard_itself_reads_a_resumed_run_as_one(tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with trackers(tmp_path, CONFIG) as callbacks:
        follow(callbacks, range(1, 41), evaluate=(40,))
    with trackers(tmp_path, CONFIG) as callbacks:
        follow(callbacks, range(21, 31), evaluate=(30,), end=StopReason.MAX_STEPS)

    shown = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert set(shown.Tags()["scalars"]) == STEP_VALUES | {"loss/validation"}
    assert [(each.step, each.value) for each in shown.Scalars("loss/train")] == [
        (step, pytest.approx(1 / step)) for step in (10, 20, 30)
    ]
    assert [each.step for each in shown.Scalars("loss/validation")] == [30]


def test_what_was_logged_is_on_the_disk_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = TensorBoardTracker(tmp_path, CONFIG)
    follow([tracker], range(1, 11))
    assert points_of(tmp_path) == {}  # in the buffer: a step costs no write
    monkeypatch.setattr(tensorboard, "_FLUSH_EVERY_SECONDS", 0.0)
    tracker.on_step(at(20))
    assert sorted(points_of(tmp_path)["loss/train"]) == [10, 20]
    tracker.close()


def test_a_full_disk_ends_the_tracking_with_one_warning(tmp_path: Path) -> None:
    with capture_logs() as logs, full_disk(room=8192), trackers(tmp_path, CONFIG) as callbacks:
        follow(callbacks, range(1, 5001), end=StopReason.MAX_STEPS)

    assert warnings_in(logs) == ["TensorBoardTracker"]
    assert (tmp_path / next(tmp_path.glob("*tfevents*"))).stat().st_size == 8192


@pytest.mark.parametrize("names", [[], ["wandb"], ["mlflow"]], ids=str)
def test_a_run_that_never_started_leaves_nothing(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        pytest.importorskip(name)
    with trackers(tmp_path, CONFIG, [TrackerName(name) for name in names]):
        pass
    assert list(tmp_path.iterdir()) == []
