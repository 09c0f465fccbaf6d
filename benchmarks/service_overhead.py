"""What a run costs beyond its steps.

The trainer's own run, with Redis, events, checkpoints, evaluations and TensorBoard, compared with the same steps alone.
"""

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import redis

from benchmarks.training_sides import ProjectLoop, Size
from services.trainer.reporter import RunReporter
from services.trainer.settings import TrainerSettings
from tinygpt.contracts.runs import Progress, TrainRequest
from tinygpt.model.config import SIZES
from tinygpt.runtime.logging import configure_logging
from tinygpt.runtime.queue import connect, training_queue
from tinygpt.runtime.redis_server import redis_binary, redis_command
from tinygpt.runtime.runs import RunStore
from tinygpt.training.callbacks import Callback, StopReason
from tinygpt.training.config import PRESETS, TrainConfig
from tinygpt.training.run import token_store_for, train
from tinygpt.training.tracking import trackers

_REDIS_STARTS_WITHIN = 30.0
_PATIENCE = 1_000_000


@dataclass(frozen=True)
class Timed:
    """Steps, and the wall-clock seconds they took."""

    steps: int
    seconds: float
    evaluation_seconds: float = 0.0
    """Of `seconds`, those in evaluations and in the checkpoints that they write."""

    @property
    def seconds_a_step(self) -> float:
        return self.seconds / self.steps

    @property
    def seconds_a_step_between_evaluations(self) -> float:
        return (self.seconds - self.evaluation_seconds) / self.steps


def overhead_config(size: Size, context_length: int, seed: int, seconds: float) -> TrainConfig:
    """The `default` preset with as many evaluations a minute as there. It does not stop early."""
    preset = PRESETS["default"]
    assert preset.max_seconds is not None
    return replace(
        preset,
        model=replace(SIZES[size], context_length=context_length),
        seed=seed,
        max_seconds=seconds,
        evaluations=max(1, round(preset.evaluations * seconds / preset.max_seconds)),
        patience=_PATIENCE,
    )


def service_run(rows: Path, size: Size, context_length: int, seed: int, seconds: float) -> Timed:
    """A run as the trainer's job makes it, with a Redis of its own."""
    configure_logging("trainer", format="json", level="warning")
    config = overhead_config(size, context_length, seed, seconds)
    with tempfile.TemporaryDirectory(prefix="tinygpt-overhead-") as name, _redis(Path(name)) as url:
        folder = Path(name) / "run"
        store = token_store_for(config, rows, Path(name) / "tokens")
        settings = TrainerSettings(home=Path(name), redis_url=url, redis_password=None)
        runs = RunStore(connect(settings), training_queue(connect(settings, decode_responses=False)))
        record, _ = runs.create(TrainRequest(), "benchmark")
        lease = runs.start(record.run_id, settings.lease_seconds)
        assert lease is not None
        folder.mkdir()
        clock = _Clock()
        reporter = RunReporter(runs, lease, folder / "events.jsonl")
        with trackers(folder, config) as tracking:
            train(config, store, [clock, reporter, *tracking], folder=folder)
    return Timed(clock.steps, clock.ended - clock.started, clock.evaluation_seconds)


def bare_run(rows: Path, size: Size, context_length: int, seed: int, seconds: float) -> Timed:
    """The same steps on the same examples alone."""
    config = overhead_config(size, context_length, seed, seconds)
    with tempfile.TemporaryDirectory(prefix="tinygpt-overhead-") as name:
        store = token_store_for(config, rows, Path(name))
        loop = ProjectLoop(config, store.tokenizer, store.training, store.held_out)
        started = time.perf_counter()
        while (spent := time.perf_counter() - started) < seconds:
            loop.step(spent / seconds)
    return Timed(loop.state.step, spent)


class _Clock(Callback):
    """The first callback, so that the time includes what the others do."""

    def __init__(self) -> None:
        self.steps = 0
        self.started = self.ended = self.stepped = 0.0
        self.evaluation_seconds = 0.0

    def on_start(self, _progress: Progress) -> None:
        self.started = time.perf_counter()

    def on_step(self, progress: Progress) -> None:
        self.steps = progress.step
        self.stepped = time.perf_counter()

    def on_evaluation(self, _progress: Progress) -> None:
        self.evaluation_seconds += time.perf_counter() - self.stepped

    def on_end(self, _progress: Progress, _reason: StopReason) -> None:
        self.ended = time.perf_counter()


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """A Redis with the stack's settings, on loopback; yields its URL."""
    binary = redis_binary()
    assert binary is not None, "make install brings a redis-server"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    server = subprocess.Popen(redis_command(binary, host="127.0.0.1", port=port, folder=folder))
    url = f"redis://127.0.0.1:{port}/0"
    try:
        with redis.Redis.from_url(url) as client:
            _wait_for(client)
        yield url
    finally:
        server.terminate()
        server.wait()


def _wait_for(client: redis.Redis) -> None:
    deadline = time.monotonic() + _REDIS_STARTS_WITHIN
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
