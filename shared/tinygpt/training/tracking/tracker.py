"""What every tracker does: log some steps and all evaluations, and never cost a run."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import structlog

from tinygpt.contracts.runs import Progress
from tinygpt.training.callbacks import Callback, StopReason
from tinygpt.training.config import TrainConfig
from tinygpt.training.schedule import budget_used, learning_rate_scale

log = structlog.get_logger()

PROJECT = "tinygpt"
VALIDATION_LOSS = "loss/validation"
_EVERY_STEPS = 10


def hyperparameters(config: TrainConfig) -> dict[str, str | int | float | bool]:
    """The settings by which runs are compared, in one level: `batch_size`, `model.width`.

    Left out are None, the threads (the machine's) and the size of the vocabulary (the data's).
    """
    values = asdict(config)
    model = values.pop("model")
    del values["threads"], model["vocab_size"]
    values |= {f"model.{name}": value for name, value in model.items()}
    return {
        name: value if isinstance(value, str | int | float) else str(value)
        for name, value in values.items()
        if value is not None
    }


class Tracker(Callback, ABC):
    """Logs every tenth step and every evaluation.

    The first error is logged as a warning, and the run continues without this tracker.
    """

    def __init__(self, folder: Path, config: TrainConfig) -> None:
        self._folder = folder
        self._config = config
        self._started = False
        self._failed = False
        self._reason: StopReason | None = None

    @abstractmethod
    def _open(self, step: int) -> None:
        """Start a run, or resume one from `step`."""

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
            self._attempt(lambda: self._log(progress.step, {VALIDATION_LOSS: loss}))

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
        except Exception as error:  # noqa: BLE001 - a tracker's library may raise anything
            self._failed = True
            reason = f"{type(error).__name__}: {error}"
            log.warning("tracking failed; the run continues without", tracker=type(self).__name__, reason=reason)
