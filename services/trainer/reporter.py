"""What a training loop tells the world, and what the world may tell it: progress out, cancel and yield in."""

import contextlib
import os
import time
from enum import StrEnum
from pathlib import Path
from typing import Literal

import structlog

from tinygpt.contracts.errors import RedisUnavailable
from tinygpt.contracts.runs import Progress, RunEvent
from tinygpt.durable import storage_errors
from tinygpt.runtime.lease import Lease
from tinygpt.runtime.queue import redis_errors
from tinygpt.runtime.runs import RunStore
from tinygpt.training.callbacks import Callback

log = structlog.get_logger()

_PROGRESS_EVERY_SECONDS = 1.0
_POLL_EVERY_SECONDS = 0.5
_LOG_EVERY_SECONDS = 5.0


class StopCause(StrEnum):
    CANCELLED = "cancelled"
    YIELDED = "yielded"


class RunReporter(Callback):
    """Publishes a run's progress to Redis and `events.jsonl`, and keeps its lease.

    Redis may be away: reports are then dropped, and the lease alone decides whether the run goes on.
    """

    def __init__(self, runs: RunStore, lease: Lease, events_path: Path) -> None:
        self._runs = runs
        self._lease = lease
        self._events_path = events_path
        self._parent = os.getppid()
        self._last_progress = self._last_poll = self._last_log = 0.0
        self._told_to_yield = False
        self.stop_cause: StopCause | None = None

    def tell_to_yield(self) -> None:
        """Safe to call from a signal handler."""
        self._told_to_yield = True

    def on_step(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last_progress >= _PROGRESS_EVERY_SECONDS:
            self._last_progress = now
            self._report("progress", progress)

    def on_evaluation(self, progress: Progress) -> None:
        self._report("evaluation", progress)

    def poll(self) -> bool:
        self._lease.renew_if_due()
        now = time.monotonic()
        if self.stop_cause is None and now - self._last_poll >= _POLL_EVERY_SECONDS:
            self._last_poll = now
            self.stop_cause = self._look_for_cause()
        return self.stop_cause is not None

    def before_write(self) -> None:
        self._lease.verify()

    def _look_for_cause(self) -> StopCause | None:
        if self._told_to_yield or os.getppid() != self._parent:
            return StopCause.YIELDED
        with contextlib.suppress(RedisUnavailable), redis_errors():
            if self._runs.cancel_requested(self._lease.run_id):
                return StopCause.CANCELLED
        return None

    def _report(self, kind: Literal["progress", "evaluation"], progress: Progress) -> None:
        self._lease.renew_if_due()  # a process that was stopped for long finds out before it writes
        event = RunEvent(type=kind, at=time.time(), data=progress.model_dump(mode="json", exclude_none=True))
        with storage_errors(self._events_path), self._events_path.open("a", encoding="utf-8") as file:
            file.write(event.model_dump_json(exclude={"id"}) + "\n")
        try:
            with redis_errors():
                self._runs.set_progress(self._lease.run_id, progress)
                self._runs.publish(self._lease.run_id, event)
        except RedisUnavailable as error:
            log.warning("progress not published", reason=error.message)
        now = time.monotonic()
        if kind == "evaluation" or now - self._last_log >= _LOG_EVERY_SECONDS:
            self._last_log = now
            log.info(kind, **event.data)
