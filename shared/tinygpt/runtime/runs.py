"""Training runs in Redis: create, read, cancel, start, finish, requeue, recover.

Several gateways and trainers share one Redis. Whatever decides and then writes is one Lua script or one MULTI.
"""

import contextlib
import math
import secrets
import time
from collections.abc import Iterator
from typing import Any, Literal, cast

import redis
from rq import Queue

from tinygpt.contracts.errors import Conflict, ErrorDetail, NotFound, QueueFull
from tinygpt.contracts.runs import Progress, Promotion, RunEvent, RunMetrics, RunRecord, RunState, TrainRequest
from tinygpt.runtime.lease import Lease, forget_lease, lease_key
from tinygpt.runtime.queue import JOB_FUNCTION
from tinygpt.runtime.run_events import append_event, read_events, state_event
from tinygpt.runtime.run_record import (
    ACTIVE_RUNS,
    ALL_RUNS,
    events_key,
    from_fields,
    idempotency_redis_key,
    run_key,
    to_fields,
)
from tinygpt.runtime.transitions import ANYBODY, NOBODY, Transitions

MAX_ATTEMPTS = 5
"""A run that lost its worker this often fails: it may be what kills the worker."""
_IDEMPOTENCY_SECONDS = 24 * 3600
_LOST_JOB_SECONDS = 10.0
_MAX_REQUEUE_SECONDS = 1.0
"""A worker that was told to yield is soon killed. If Redis is away, the lease lapses by itself."""


def new_run_id() -> str:
    """Sorts by time: `r-` + UTC date and time + randomness."""
    return f"r-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


class RunStore:
    """Runs in Redis and their jobs in the RQ queue. `connection` decodes responses, the queue's does not.

    Every method may raise `redis.ConnectionError`; `tinygpt.runtime.queue.redis_errors` turns it into a 503.
    """

    def __init__(self, connection: redis.Redis, queue: Queue) -> None:
        self._redis = connection
        self._queue = queue
        self._transitions = Transitions(connection)

    # -- for clients

    def create(
        self,
        request: TrainRequest,
        dataset_id: str,
        *,
        origin: Literal["api", "quick-start"] = "api",
        idempotency_key: str | None = None,
        max_active: int | None = None,
    ) -> tuple[RunRecord, bool]:
        """Record a run and enqueue its job in one transaction. With a known `idempotency_key`, return that run instead.

        Returns the record, and whether it is new. Raises `Conflict` if the key was used for another request,
        `QueueFull` if `max_active` runs have not ended.
        """
        key = idempotency_redis_key(str(idempotency_key))
        with self._queue.connection.pipeline() as pipe:
            while True:
                # Watched before they are read. If one of them changes meanwhile, everything is read again.
                pipe.watch(key, ACTIVE_RUNS)  # type: ignore[no-untyped-call]
                if idempotency_key is not None and (known := cast("str | None", self._redis.get(key))):
                    return self._same(known, request, dataset_id), False
                if max_active is not None and (active := self.active_count()) >= max_active:
                    message = f"{active} runs have not ended yet: cancel one, or try again later."
                    raise QueueFull(message, retry_after=60)
                record = RunRecord(
                    run_id=new_run_id(),
                    state=RunState.QUEUED,
                    request=request,
                    dataset_id=dataset_id,
                    origin=origin,
                    created_at=time.time(),
                )
                self._enqueue(record.run_id, pipe)
                pipe.hset(run_key(record.run_id), mapping=to_fields(record.model_dump(mode="json")))
                pipe.zadd(ALL_RUNS, {record.run_id: record.created_at})
                pipe.sadd(ACTIVE_RUNS, record.run_id)
                pipe.xadd(events_key(record.run_id), {"event": state_event(RunState.QUEUED, {})})
                if idempotency_key is not None:
                    pipe.set(key, record.run_id, ex=_IDEMPOTENCY_SECONDS)
                with contextlib.suppress(redis.WatchError):
                    pipe.execute()
                    break
        return record, True

    def _same(self, run_id: str, request: TrainRequest, dataset_id: str) -> RunRecord:
        record = self.get(run_id)
        if record.request != request or record.dataset_id != dataset_id:
            raise Conflict(
                f"This Idempotency-Key was used for another request (run {run_id}): use a new key.",
                param="Idempotency-Key",
            )
        return record

    def get(self, run_id: str) -> RunRecord:
        """Raises `NotFound`."""
        fields = cast("dict[str, str]", self._redis.hgetall(run_key(run_id)))
        if "run_id" not in fields:
            raise NotFound(f"There is no run {run_id[:80]!r}: GET /train lists them.")
        return from_fields(fields)

    def newest(self, limit: int = 50) -> list[RunRecord]:
        """The latest runs, newest first."""
        return [self.get(run_id) for run_id in cast("list[str]", self._redis.zrevrange(ALL_RUNS, 0, limit - 1))]

    def active(self) -> list[RunRecord]:
        """Runs that have not ended, oldest first."""
        ids = cast("set[str]", self._redis.smembers(ACTIVE_RUNS))
        return sorted((self.get(run_id) for run_id in ids), key=lambda record: record.created_at)

    def active_count(self) -> int:
        return self._redis.scard(ACTIVE_RUNS)

    def events(self, run_id: str, after: str = "0") -> Iterator[RunEvent]:
        """The run's events after the id `after`, oldest first. Raises `redis.ResponseError` for a malformed id."""
        return read_events(self._redis, run_id, after)

    def cancel(self, run_id: str) -> RunRecord:
        """End a queued run now; ask a running one to save and stop. Raises `NotFound`, `Conflict` if it has ended."""
        record = self.get(run_id)
        if self._transitions.take(
            run_id, RunState.CANCELLED, sources={RunState.QUEUED}, holder=ANYBODY, ended_at=time.time()
        ):
            self._queue.remove(run_id)
            return self.get(run_id)
        record = self.get(run_id)
        if record.state.is_final:
            raise Conflict(f"Run {run_id} has already {_past(record.state)}, so it can't be cancelled.")
        self._set(run_id, cancel_requested=True)
        return self.get(run_id)

    # -- for trainers

    def start(self, run_id: str, lease_seconds: float) -> Lease | None:
        """Take a queued run's lease and set it running. None if it is not queued or another worker has it."""
        record = self.get(run_id)
        if record.state is not RunState.QUEUED:
            return None
        lease = Lease.acquire(self._redis, run_id, lease_seconds)
        if lease is None:
            return None
        started_at = record.started_at or time.time()
        attempt = record.attempt + 1
        if not self._transitions.take(
            run_id, RunState.RUNNING, holder=lease.mark, started_at=started_at, attempt=attempt, ended_at=None
        ):
            return None
        return lease

    def cancel_requested(self, run_id: str) -> bool:
        return bool(self._redis.hget(run_key(run_id), "cancel_requested") == "true")

    def set_progress(self, run_id: str, progress: Progress) -> None:
        self._set(run_id, progress=progress.model_dump(mode="json"))

    def publish(self, run_id: str, event: RunEvent) -> RunEvent:
        """Append to the run's events. Returns the event with its id."""
        return append_event(self._redis, run_id, event)

    def finish(
        self,
        lease: Lease,
        state: RunState,
        *,
        metrics: RunMetrics | None = None,
        promotion: Promotion | None = None,
        error: ErrorDetail | None = None,
    ) -> None:
        """End the run that `lease` holds. Raises `LeaseLost` if it is another worker's by now."""
        outcome = {"metrics": metrics, "promotion": promotion, "error": error}
        fields = {name: value.model_dump(mode="json") for name, value in outcome.items() if value is not None}
        self._transitions.take_holding(lease, state, max_seconds=math.inf, ended_at=time.time(), **fields)

    def requeue(self, lease: Lease) -> None:
        """Requeue the run of a worker that was told to yield; it resumes from `last.pt`. Raises `LeaseLost`.

        The next `recover` enqueues its job: RQ still runs the old one and removes it when it returns.
        """
        attempt = self.get(lease.run_id).attempt - 1  # yielding does not count as a lost worker
        self._transitions.take_holding(
            lease, RunState.QUEUED, max_seconds=_MAX_REQUEUE_SECONDS, attempt=attempt, enqueued_at=0
        )

    def forget_lease(self, run_id: str, pid: int) -> None:
        """End a run's lease now if this machine's process `pid`, which is known to be dead, holds it."""
        forget_lease(self._redis, run_id, pid)

    def recover(self) -> list[RunRecord]:
        """Requeue runs whose lease has lapsed, and queued runs whose job was lost. Returns the runs that it changed.

        Any number of workers may call it at once, because each change checks the state that it changes.
        """
        return [self.get(record.run_id) for record in self.active() if self._recover(record)]

    def _recover(self, record: RunRecord) -> bool:
        if record.state is RunState.QUEUED:
            return self._end_lost(record) if record.cancel_requested else self._replace_lost_job(record.run_id)
        if self._redis.exists(lease_key(record.run_id)):
            return False
        if self._end_lost(record):
            return True
        moved = self._transitions.take(record.run_id, RunState.QUEUED, holder=NOBODY, enqueued_at=0)
        return moved and self._replace_lost_job(record.run_id)

    def _end_lost(self, record: RunRecord) -> bool:
        """End a lost run that was to be cancelled, or that has lost too many workers."""
        if record.cancel_requested:
            return self._transitions.take(record.run_id, RunState.CANCELLED, holder=NOBODY, ended_at=time.time())
        if record.attempt >= MAX_ATTEMPTS:
            error = ErrorDetail(
                message=f"The worker was lost {record.attempt} times, most likely because memory ran out: "
                "train a smaller model, or with a smaller batch_size or context_length.",
                type="server_error",
                code="worker_lost",
            )
            return self._transitions.take(
                record.run_id, RunState.FAILED, holder=NOBODY, ended_at=time.time(), error=error.model_dump(mode="json")
            )
        return False

    # -- the run's hash and its job

    def _set(self, run_id: str, **fields: Any) -> None:
        self._redis.hset(run_key(run_id), mapping=to_fields(fields))

    def _enqueue(self, run_id: str, pipe: Any) -> None:
        """Add to `pipe`, which must be empty, because RQ opens its MULTI."""
        self._queue.enqueue_call(
            JOB_FUNCTION, args=(run_id,), job_id=run_id, timeout=-1, result_ttl=0, failure_ttl=3600, pipeline=pipe
        )
        pipe.hset(run_key(run_id), "enqueued_at", str(time.time()))

    def _replace_lost_job(self, run_id: str) -> bool:
        """Enqueue a queued run whose job neither waits nor is on its way to a worker. If several call it, one does."""
        with self._queue.connection.pipeline() as pipe, contextlib.suppress(redis.WatchError):
            pipe.watch(run_key(run_id))  # type: ignore[no-untyped-call]
            enqueued_at = float(cast("str | None", self._redis.hget(run_key(run_id), "enqueued_at")) or 0)
            if time.time() - enqueued_at > _LOST_JOB_SECONDS and run_id not in self._queue.get_job_ids():
                self._enqueue(run_id, pipe)
                pipe.execute()
                return True
        return False


def _past(state: RunState) -> str:
    return {RunState.SUCCEEDED: "succeeded", RunState.FAILED: "failed", RunState.CANCELLED: "been cancelled"}[state]
