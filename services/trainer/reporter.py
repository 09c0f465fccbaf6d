"""The training loop's connection to the rest of the stack: progress out, requests to cancel or yield in."""

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

_PROGRESS_SECONDS = 1.0
_POLL_SECONDS = 0.5
_LOG_SECONDS = 5.0


class StopCause(StrEnum):
    """Why a run stops before its end: a client cancelled it, or its worker has to stop and yields it to another."""

    CANCELLED = "cancelled"
    YIELDED = "yielded"


class RunReporter(Callback):
    """Publishes a run's progress to Redis and `events.jsonl`, and renews its lease.

    If Redis is away, reports are dropped, and the lease alone decides whether the run continues.
    """

    def __init__(self, runs: RunStore, lease: Lease, events_path: Path) -> None:
        self._runs = runs
        self._lease = lease
        self._events_path = events_path
        self._parent = os.getppid()
        self._last_progress = self._last_poll = self._last_log = 0.0
        self._yield_requested = False
        self.stop_cause: StopCause | None = None

    def request_yield(self) -> None:
        """Safe to call from a signal handler."""
        self._yield_requested = True

    def on_step(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last_progress >= _PROGRESS_SECONDS:
            self._last_progress = now
            self._report("progress", progress)

    def on_evaluation(self, progress: Progress) -> None:
        self._report("evaluation", progress)

    def poll(self) -> bool:
        """Renew the lease if that is due. True if the run should stop: `stop_cause` says why. Raises `LeaseLost`."""
        self._lease.renew_if_due()
        now = time.monotonic()
        if self.stop_cause is None and now - self._last_poll >= _POLL_SECONDS:
            self._last_poll = now
            self.stop_cause = self._find_stop_cause()
        return self.stop_cause is not None

    def before_write(self) -> None:
        self._lease.verify()

    def _find_stop_cause(self) -> StopCause | None:
        if self._yield_requested or os.getppid() != self._parent:
            return StopCause.YIELDED
        with contextlib.suppress(RedisUnavailable), redis_errors():
            if self._runs.cancel_requested(self._lease.run_id):
                return StopCause.CANCELLED
        return None

    def _report(self, kind: Literal["progress", "evaluation"], progress: Progress) -> None:
        self._lease.renew_if_due()  # a process that was suspended for long finds out before it writes
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
        if kind == "evaluation" or now - self._last_log >= _LOG_SECONDS:
            self._last_log = now
            log.info(kind, **event.data)
