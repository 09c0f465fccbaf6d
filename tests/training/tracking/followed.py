"""What tests of trackers share: a run to follow, and what a tracker wrote about it."""

import struct
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tinygpt.contracts.runs import Progress
from tinygpt.training.callbacks import Callback, StopReason
from tinygpt.training.config import TrainConfig

needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="run by make test-tracking")
needs_mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="run by make test-tracking")
their_own_warnings = pytest.mark.filterwarnings("default")

CONFIG = TrainConfig(max_steps=40, max_seconds=None, decay_from=0.0)
STEP_VALUES = {"loss/train", "learning_rate_scale", "tokens_per_second"}
Points = dict[str, dict[int, float]]
"""By name, then by step."""


def at(step: int) -> Progress:
    """A progress whose losses reveal the step."""
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
    """Call `callbacks` as a run would. Without `end`: a run that died."""
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


def train_command(rows: Path, out: Path, *more: str) -> list[str]:
    return ["train", str(rows), "--out", str(out), "--context-length", "32", "--batch-size", "2", *more]
