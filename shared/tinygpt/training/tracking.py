"""Where the curves of a run go: TensorBoard's event files always, Weights & Biases and MLflow when asked for."""

import contextlib
import contextvars
import importlib.util
import os
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog

from tinygpt.contracts.errors import TrainingFailed
from tinygpt.contracts.runs import Progress
from tinygpt.durable import write_whole
from tinygpt.training.callbacks import Callback, StopReason
from tinygpt.training.config import TrainConfig
from tinygpt.training.schedule import budget_used, learning_rate_scale

log = structlog.get_logger()

_EVERY_STEPS = 10
_FLUSH_EVERY_SECONDS = 10.0
_CLOSE_SECONDS = 15.0
"""Half of a lease, by default: a service that does not answer must not cost the run."""
_PROJECT = "tinygpt"
_VALIDATION_LOSS = "loss/validation"


class TrackerName(StrEnum):
    """The trackers that need an extra; each is named as its package and as its extra."""

    WANDB = "wandb"
    MLFLOW = "mlflow"


@contextlib.contextmanager
def trackers(folder: Path, config: TrainConfig, names: Iterable[TrackerName] = ()) -> Iterator[list[Callback]]:
    """The callbacks that track a run in `folder`: TensorBoard's and those named; closed at the end.

    Raises:
        TrainingFailed: the package of one is not installed; the message says what to do.
    """
    kinds: dict[TrackerName, type[_Tracker]] = {TrackerName.WANDB: WandbTracker, TrackerName.MLFLOW: MlflowTracker}
    opened: list[_Tracker] = [TensorBoardTracker(folder, config)]
    opened += [kinds[name](folder, config) for name in dict.fromkeys(names)]
    try:
        yield list(opened)
    finally:
        for tracker in opened:
            tracker.close()


def check_installed(names: Iterable[TrackerName]) -> None:
    """Raises `TrainingFailed` if the package of one is missing."""
    for name in names:
        spec = importlib.util.find_spec(name)
        # W&B leaves a folder `wandb`, which passes for a package without an origin.
        if spec is None or spec.origin is None:
            raise TrainingFailed(
                f"Tracking with {name} needs the extra of that name, which is not installed: "
                f"deploy/install .venv -e '.[{name}]'."
            )


def hyperparameters(config: TrainConfig) -> dict[str, str | int | float | bool]:
    """What a run is compared by, in one level: `batch_size`, `model.width`. None is left out, and so are the threads,
    which are the machine's, and the vocabulary's size, which is the data's."""
    values = asdict(config)
    model = values.pop("model")
    del values["threads"], model["vocab_size"]
    values |= {f"model.{name}": value for name, value in model.items()}
    return {
        name: value if isinstance(value, str | int | float) else str(value)
        for name, value in values.items()
        if value is not None
    }


class _Tracker(Callback, ABC):
    """Logs every tenth step and every evaluation.

    What fails here is logged once, and the run goes on without this tracker.
    """

    def __init__(self, folder: Path, config: TrainConfig) -> None:
        self._folder = folder
        self._config = config
        self._started = False
        self._failed = False
        self._reason: StopReason | None = None

    @abstractmethod
    def _open(self, step: int) -> None:
        """Start, or go on from `step`."""

    @abstractmethod
    def _log(self, step: int, values: Mapping[str, float]) -> None: ...

    @abstractmethod
    def _finish(self, reason: StopReason | None) -> None:
        """`reason` is None for a run that failed."""

    def on_start(self, progress: Progress) -> None:
        self._started = True
        self._attempt(lambda: self._open(progress.step))

    def on_step(self, progress: Progress) -> None:
        if progress.step % _EVERY_STEPS == 0:
            values = self._step_values(progress)
            self._attempt(lambda: self._log(progress.step, values))

    def on_evaluation(self, progress: Progress) -> None:
        if (loss := progress.validation_loss) is not None:
            self._attempt(lambda: self._log(progress.step, {_VALIDATION_LOSS: loss}))

    def on_end(self, _progress: Progress, reason: StopReason) -> None:
        self._reason = reason

    def close(self) -> None:
        """Write what is left. After this nothing is logged."""
        if self._started:
            self._attempt(lambda: self._finish(self._reason))

    def _step_values(self, progress: Progress) -> dict[str, float]:
        used = budget_used(self._config, progress.step - 1, progress.elapsed_seconds)
        values = {
            "loss/train": progress.train_loss,
            "learning_rate_scale": learning_rate_scale(self._config, progress.step - 1, used),
            "tokens_per_second": progress.tokens_per_second,
        }
        return {name: value for name, value in values.items() if value is not None}

    def _attempt(self, action: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001 - theirs, of any class
            self._failed = True
            reason = f"{type(error).__name__}: {error}"
            log.warning("tracking failed; the run goes on without", tracker=type(self).__name__, reason=reason)


class TensorBoardTracker(_Tracker):
    """Event files in the run's folder, one for each time that the run was started or gone on with.

    Written in this thread, through the file's own buffer: tensorboardX's `SummaryWriter` has a thread and a bounded
    queue, and when the disk is full the thread dies and the queue blocks the run for good.
    """

    def _open(self, step: int) -> None:
        # Here, not above: it imports torch, which the settings of the trainer's parent process do without.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.summary import hparams

        # The name has the second and the host; a run gone on with in the same second must not overwrite.
        self._writer = EventsWriter(str(self._folder / "events"), filename_suffix=f".{time.time_ns()}")
        # Points after this step are of a process that died before its next checkpoint: TensorBoard hides them.
        self._write(step + 1, session_log=SessionLog(status=SessionLog.START))
        for summary in hparams(hyperparameters(self._config), {_VALIDATION_LOSS: None}):
            self._write(step, summary=summary)
        self._flush()

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step, summary=Summary(value=points))
        if time.monotonic() - self._flushed_at >= _FLUSH_EVERY_SECONDS:
            self._flush()

    def _finish(self, _reason: StopReason | None) -> None:
        self._writer.close()

    def _write(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=step, **content))

    def _flush(self) -> None:
        self._writer.flush()
        self._flushed_at = time.monotonic()


class _BackgroundTracker(_Tracker):
    """Calls its library in a thread of its own, in order. To import one takes seconds, and one that waits for its
    service may wait for ever; the run, which has a lease to renew, does neither."""

    name: TrackerName

    def __init__(self, folder: Path, config: TrainConfig) -> None:
        check_installed([self.name])
        super().__init__(folder, config)
        self._actions: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # With this thread's context, so that its warnings carry the run's id.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._work,), name=self.name, daemon=True)

    def on_start(self, progress: Progress) -> None:
        self._thread.start()
        super().on_start(progress)

    def close(self) -> None:
        super().close()
        if self._started:
            self._actions.put(None)
            self._thread.join(_CLOSE_SECONDS)
            if self._thread.is_alive():
                log.warning("tracking is not done; left behind", tracker=type(self).__name__, seconds=_CLOSE_SECONDS)

    def _attempt(self, action: Callable[[], None]) -> None:
        self._actions.put(action)

    def _work(self) -> None:
        while (action := self._actions.get()) is not None:
            super()._attempt(action)

    def _remembered(self, step: int) -> str | None:
        """The library's id of the run that is gone on with; None for a new run."""
        path = self._id_path
        return path.read_text(encoding="utf-8") if step > 0 and path.exists() else None

    def _remember(self, run_id: str) -> None:
        write_whole(self._id_path, run_id)

    @property
    def _id_path(self) -> Path:
        return self._folder / f"{self.name}_run_id"


class WandbTracker(_BackgroundTracker):
    """Weights & Biases, offline (`wandb sync` uploads it) unless WANDB_MODE says otherwise; files in `wandb/` in the
    run's folder."""

    name = TrackerName.WANDB

    def _open(self, step: int) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            mode=os.environ.get("WANDB_MODE", "offline"),
            name=self._folder.resolve().name,
            dir=str(self._folder),
            config=hyperparameters(self._config),
            id=self._remembered(step),
            resume="allow",
            settings=wandb.Settings(console="off", silent=True),
        )
        self._remember(self._run.id)

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def _finish(self, reason: StopReason | None) -> None:
        self._run.finish(exit_code=int(reason is None))


class MlflowTracker(_BackgroundTracker):
    """MLflow, into `mlflow.db` (SQLite) beside the run's folder, so that runs side by side can be compared; or where
    MLFLOW_TRACKING_URI says."""

    name = TrackerName.MLFLOW

    def _open(self, step: int) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        store = (self._folder.resolve().parent / "mlflow.db").as_posix()
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{store}"))
        if (remembered := self._remembered(step)) is not None:
            self._run_id = remembered
            self._client.update_run(self._run_id, status="RUNNING")
            return
        project = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        experiment = self._client.get_experiment_by_name(project)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(project)
        self._run_id = self._client.create_run(experiment_id, run_name=self._folder.resolve().name).info.run_id
        params = [Param(name, str(value)) for name, value in hyperparameters(self._config).items()]
        self._client.log_batch(self._run_id, params=params)
        self._remember(self._run_id)

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self._run_id, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def _finish(self, reason: StopReason | None) -> None:
        if reason is None:
            status = "FAILED"
        elif reason is StopReason.STOP_REQUESTED:
            status = "KILLED"
        else:
            status = "FINISHED"
        self._client.set_terminated(self._run_id, status)
