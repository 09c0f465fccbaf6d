"""What trackers write, how they go on, and that none of them can cost a run. W&B's and MLflow's tests need their
extras: `make test-tracking`."""

import contextlib
import json
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from services.trainer import __main__ as trainer
from services.trainer.settings import TrainerSettings
from tests.full_disk import full_disk
from tinygpt.cli import app
from tinygpt.contracts.errors import TrainingFailed
from tinygpt.contracts.runs import Progress
from tinygpt.data.rows import Row, write_rows
from tinygpt.runtime.settings import load_settings
from tinygpt.training import tracking
from tinygpt.training.callbacks import Callback, StopReason
from tinygpt.training.config import TrainConfig
from tinygpt.training.tracking import (
    MlflowTracker,
    TensorBoardTracker,
    TrackerName,
    WandbTracker,
    check_installed,
    hyperparameters,
    trackers,
)

needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="run by make test-tracking")
needs_mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="run by make test-tracking")
their_own_warnings = pytest.mark.filterwarnings("default")

CONFIG = TrainConfig(max_steps=100, max_seconds=None, warmup_steps=20, decay_from=0.0)
STEP_VALUES = {"loss/train", "learning_rate_scale", "tokens_per_second"}
Points = dict[str, dict[int, float]]
"""By name, then by step."""


def at(step: int) -> Progress:
    """A progress whose losses tell the step."""
    return Progress(
        step=step,
        elapsed_seconds=step / 10,
        train_loss=1 / step if step else None,
        validation_loss=2 / step if step else None,
        tokens_per_second=1000.0,
    )


def follow(
    callbacks: Iterable[Callback], steps: range, *, evaluate: tuple[int, ...] = (), end: StopReason | None = None
) -> None:
    """Tell `callbacks` of a run as the loop would; with no `end`, of one that died."""
    for callback in callbacks:
        callback.on_start(at(steps.start - 1))
        for step in steps:
            callback.on_step(at(step))
            if step in evaluate:
                callback.on_evaluation(at(step))
        if end is not None:
            callback.on_end(at(steps[-1]), end)


def events_of(folder: Path) -> list[Any]:
    """Every event of a folder, in TensorBoard's order. A record: length, its checksum, the event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    events = []
    for path in sorted(folder.glob("*tfevents*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack_from("<Q", content)
            events.append(Event.FromString(content[12 : 12 + length]))
            content = content[12 + length + 4 :]
    return events


def points_of(folder: Path) -> Points:
    points: Points = {}
    for event in events_of(folder):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                points.setdefault(value.tag, {})[event.step] = value.simple_value
    return points


def warnings_in(logs: Iterable[Mapping[str, Any]]) -> list[str]:
    return [entry["tracker"] for entry in logs if entry["log_level"] == "warning"]


# -- TensorBoard


def test_event_files_have_every_tenth_step_and_every_evaluation(tmp_path: Path) -> None:
    with trackers(tmp_path, CONFIG) as callbacks:
        follow(callbacks, range(1, 31), evaluate=(15, 30), end=StopReason.MAX_STEPS)

    points = points_of(tmp_path)
    assert set(points) == STEP_VALUES | {"loss/validation"}
    assert points["loss/train"] == pytest.approx({10: 1 / 10, 20: 1 / 20, 30: 1 / 30})
    assert points["loss/validation"] == pytest.approx({15: 2 / 15, 30: 2 / 30})
    assert points["tokens_per_second"] == {10: 1000, 20: 1000, 30: 1000}
    # The tenth step of twenty to warm up; the thirtieth has 29 hundredths of the budget behind it.
    assert points["learning_rate_scale"] == pytest.approx({10: 0.5, 20: 0.81, 30: 0.71})


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


def test_a_resumed_run_goes_on_in_the_same_folder_and_hides_what_was_lost(tmp_path: Path) -> None:
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
    monkeypatch.setattr(tracking, "_FLUSH_EVERY_SECONDS", 0.0)
    tracker.on_step(at(20))
    assert sorted(points_of(tmp_path)["loss/train"]) == [10, 20]
    tracker.close()


def test_a_full_disk_ends_the_tracking_with_one_warning_and_not_the_run(tmp_path: Path) -> None:
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


# -- in the background


class Fragile(tracking._BackgroundTracker):
    """Does `on_log` when told to log."""

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
    monkeypatch.setattr(tracking, "check_installed", lambda _names: None)


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
    monkeypatch.setattr(tracking, "_CLOSE_SECONDS", 0.1)
    released = threading.Event()
    with capture_logs() as logs:
        tracker = Fragile(tmp_path, lambda _step: released.wait(60))
        follow([tracker], range(1, 101), end=StopReason.MAX_STEPS)
        tracker.close()
    released.set()

    assert warnings_in(logs) == ["Fragile"]


# -- as a person asks for them


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [Row(f"add {i} to x", f"x + {i}") for i in range(60)])
    return path


def train_command(rows: Path, out: Path, *more: str) -> list[str]:
    return ["train", str(rows), "--out", str(out), "--context-length", "32", "--batch-size", "2", *more]


def test_the_command_leaves_event_files_in_the_runs_folder(tmp_path: Path, rows: Path) -> None:
    result = CliRunner().invoke(app, train_command(rows, tmp_path / "run", "--max-steps", "20"))

    assert result.exit_code == 0, result.output
    points = points_of(tmp_path / "run")
    assert set(points) == STEP_VALUES | {"loss/validation"}
    assert sorted(points["loss/train"]) == [10, 20]
    assert all(0 < loss < 10 for loss in points["loss/train"].values())


@pytest.mark.parametrize("name", list(TrackerName))
def test_a_missing_package_is_one_sentence_that_names_the_extra(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch, name: TrackerName
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    result = CliRunner().invoke(app, train_command(rows, tmp_path / "run", "--track", name))

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert f"deploy/install .venv -e '.[{name}]'" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_folder_of_the_packages_name_is_not_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B leaves one wherever it ran."""
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(TrainingFailed):
        check_installed([TrackerName.WANDB])


def test_the_trainer_is_told_with_commas_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGPT_TRAINER_TRACK", "mlflow, wandb")
    assert load_settings(TrainerSettings).trainer_track == (TrackerName.MLFLOW, TrackerName.WANDB)


def test_a_tracker_that_there_is_not_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TINYGPT_TRAINER_TRACK", "wandb,comet")
    with pytest.raises(SystemExit, match="2"):
        load_settings(TrainerSettings)
    told = capsys.readouterr().err
    assert told.startswith("TINYGPT_TRAINER_TRACK='wandb,comet' can't be used: ")
    assert "wandb, mlflow" in told


def test_the_trainer_does_not_start_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGPT_TRAINER_TRACK", "wandb")
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(trainer, "configure_logging", lambda *_args, **_options: None)
    with pytest.raises(SystemExit, match=r"The trainer can't start: .*\[wandb\]"):
        trainer.main()


# -- Weights & Biases


def wandb_records(path: Path) -> Iterator[bytes]:
    """The records of an offline run's file: LevelDB's log format, blocks of 32 KiB, behind a header of 7 bytes."""
    content, at_byte, record = path.read_bytes(), 7, b""
    while at_byte + 7 <= len(content):
        length, kind = struct.unpack_from("<HB", content, at_byte + 4)
        record += content[at_byte + 7 : at_byte + 7 + length]
        at_byte += 7 + length
        if kind in (1, 4):  # whole, or the last part of one
            yield record
            record = b""
        if (left := -at_byte % 32768) < 7:  # a block's end has no room for another
            at_byte += left


def wandb_history(folder: Path) -> dict[int, dict[str, float]]:
    """What the offline runs of a folder logged, by step."""
    from wandb.proto.wandb_internal_pb2 import Record

    history: dict[int, dict[str, float]] = {}
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in wandb_records(path):
            items = Record.FromString(data).history.item
            values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in items}
            if values:
                history.setdefault(values["_step"], {}).update(values)
    return history


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cold import of either package can outlast the limit."""
    monkeypatch.setattr(tracking, "_CLOSE_SECONDS", 100.0)


@needs_wandb
@their_own_warnings
def test_wandb_has_the_values_offline_and_goes_on_as_the_same_run(tmp_path: Path, patient: None) -> None:
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
    assert history[10]["learning_rate_scale"] == pytest.approx(0.5)
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
        wandb.teardown()  # this process may go on with another service

    assert warnings_in(logs) == ["WandbTracker"]


# -- MLflow


@needs_mlflow
@their_own_warnings
def test_mlflow_has_the_values_and_goes_on_as_the_same_run(tmp_path: Path, patient: None) -> None:
    from mlflow import MlflowClient

    folder = tmp_path / "run"
    folder.mkdir()
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")

    with capture_logs() as logs, trackers(folder, CONFIG, [TrackerName.MLFLOW]) as callbacks:
        follow(callbacks, range(1, 21), evaluate=(20,), end=StopReason.STOP_REQUESTED)
    run_id = (folder / "mlflow_run_id").read_text()
    assert client.get_run(run_id).info.status == "KILLED"
    with capture_logs() as more_logs, trackers(folder, CONFIG, [TrackerName.MLFLOW]) as callbacks:
        follow(callbacks, range(21, 41), evaluate=(40,), end=StopReason.MAX_STEPS)

    assert warnings_in(logs) == warnings_in(more_logs) == []
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert run.data.params["model.width"] == str(CONFIG.model.width)
    steps = {each.step: each.value for each in client.get_metric_history(run_id, "loss/train")}
    assert steps == pytest.approx({step: 1 / step for step in (10, 20, 30, 40)})
    assert [each.step for each in client.get_metric_history(run_id, "loss/validation")] == [20, 40]
    assert len(client.search_runs([run.info.experiment_id])) == 1


@needs_mlflow
@their_own_warnings
def test_mlflow_says_that_a_run_failed(tmp_path: Path, patient: None) -> None:
    from mlflow import MlflowClient

    folder = tmp_path / "run"
    folder.mkdir()
    with trackers(folder, CONFIG, [TrackerName.MLFLOW]) as callbacks:
        follow(callbacks, range(1, 11))

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert client.get_run((folder / "mlflow_run_id").read_text()).info.status == "FAILED"


@needs_mlflow
@their_own_warnings
def test_a_run_outlives_an_mlflow_store_that_there_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://store")
    with capture_logs() as logs:
        tracker = MlflowTracker(tmp_path, CONFIG)
        follow([tracker], range(1, 31), end=StopReason.MAX_STEPS)
        tracker.close()
    assert warnings_in(logs) == ["MlflowTracker"]


@needs_wandb
@needs_mlflow
@their_own_warnings
def test_the_command_tracks_with_both(tmp_path: Path, rows: Path, patient: None) -> None:
    command = train_command(rows, tmp_path / "run", "--max-steps", "20", "--track", "wandb", "--track", "mlflow")
    result = CliRunner().invoke(app, command)

    assert result.exit_code == 0, result.output
    assert "tracking failed" not in result.output
    assert sorted(points_of(tmp_path / "run")["loss/train"]) == [10, 20]
    assert sorted(step for step, values in wandb_history(tmp_path / "run").items() if "loss/train" in values) == [
        10,
        20,
    ]
    assert (tmp_path / "mlflow.db").exists()
