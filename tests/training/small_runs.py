"""What tests of small runs share: rows, a configuration, callbacks and a clock."""

from dataclasses import replace

from tinygpt.contracts.errors import LeaseLost
from tinygpt.contracts.runs import Progress, RunMetrics
from tinygpt.data.rows import Row
from tinygpt.model.config import ModelConfig
from tinygpt.training.callbacks import Callback, StopReason
from tinygpt.training.config import TrainConfig
from tinygpt.training.run import TrainResult

ROWS = [Row(f"add {i} to x", f"x + {i}") for i in range(60)]
CONFIG = TrainConfig(
    model=ModelConfig(context_length=32, layers=1, heads=2, width=16, dropout=0.1, ngrams=(2, 3), ngram_rows=64),
    batch_size=8,
    learning_rate=1e-2,
    max_steps=30,
    max_seconds=None,
    evaluations=3,
    precision="fp32",
)
"""An evaluation after steps 10, 20 and 30; seven batches an epoch."""
HOPELESS = replace(
    CONFIG,
    optimizer="adamw",
    learning_rate=1e-30,
    table_learning_rate=1e-30,
    decay_from=0.0,
    max_steps=100,
    evaluations=10,
    patience=2,
)
"""Learns nothing: no evaluation is better than the first."""


def metrics_of(result: TrainResult) -> RunMetrics:
    assert result.metrics is not None
    return result.metrics


class Witness(Callback):
    """Keeps everything it is called with."""

    def __init__(self) -> None:
        self.started: list[Progress] = []
        self.steps: list[Progress] = []
        self.evaluations: list[Progress] = []
        self.ended: list[tuple[int, StopReason]] = []

    def on_start(self, progress: Progress) -> None:
        self.started.append(progress)

    def on_step(self, progress: Progress) -> None:
        self.steps.append(progress)

    def on_evaluation(self, progress: Progress) -> None:
        self.evaluations.append(progress)

    def on_end(self, progress: Progress, reason: StopReason) -> None:
        self.ended.append((progress.step, reason))


class StopAfter(Callback):
    """Asks the run to stop after a step."""

    def __init__(self, step: int) -> None:
        self.last = step
        self.step = 0

    def on_step(self, progress: Progress) -> None:
        self.step = progress.step

    def poll(self) -> bool:
        return self.step >= self.last


class FailAfter(Callback):
    """Dies after a step, as a killed process would: nothing more is written."""

    def __init__(self, step: int) -> None:
        self.last = step

    def on_step(self, progress: Progress) -> None:
        if progress.step >= self.last:
            raise KeyboardInterrupt


class NoLease(Callback):
    def before_write(self) -> None:
        raise LeaseLost("another worker has the run")


class Clock:
    """A fake `time` module for the run: every reading advances it by a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


def one_sentence(error: Exception) -> str:
    message = str(error)
    assert message
    assert "\n" not in message
    assert "Traceback" not in message
    return message
