"""The record of every training run in Redis, and the only place where a run changes its state.

Keys: `tinygpt:run:<id>` (hash, a JSON value a field), `tinygpt:runs` (all, by time of creation),
`tinygpt:runs:active` (not yet ended), `tinygpt:events:<id>` (stream), `tinygpt:lease:<id>`.
Several gateways and trainers share one Redis: whatever decides and then writes is one Lua script or one MULTI.
"""

import contextlib
import json
import math
import secrets
import time
from collections.abc import Iterator
from typing import Any, Literal, cast

import redis
from rq import Queue

from tinygpt.contracts.errors import Conflict, ErrorDetail, LeaseLost, NotFound, QueueFull, RedisUnavailable
from tinygpt.contracts.runs import (
    TRANSITIONS,
    Progress,
    Promotion,
    RunEvent,
    RunMetrics,
    RunRecord,
    RunState,
    TrainRequest,
)
from tinygpt.runtime.lease import Lease, forget_lease, lease_key
from tinygpt.runtime.queue import JOB_FUNCTION, redis_errors

_RUNS = "tinygpt:runs"
_ACTIVE = "tinygpt:runs:active"
_IDEMPOTENCY_SECONDS = 24 * 3600
_EVENTS_KEPT = 5000
_EVENTS_A_READ = 1000
_EVENTS_KEPT_SECONDS = 7 * 24 * 3600
_LOST_JOB_SECONDS = 10.0
_ASK_AGAIN_SECONDS = 0.2
_GIVE_BACK_SECONDS = 1.0
"""Who was told to yield is soon killed: the lease lapses by itself if Redis is not there to be told."""
MAX_ATTEMPTS = 5
"""A run whose worker was lost this often fails, so that a run which kills its worker does not do so for ever."""

_TRANSITION = """
-- KEYS: run, lease, active set, events. ARGV: run id, new state, lease's mark ('' = nobody may hold it,
-- '*' = don't care), event, number of allowed states, the states, then field, value, ...
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'missing' end
local holder = redis.call('GET', KEYS[2])
if ARGV[3] == '' then
  if holder then return 'held' end
elseif ARGV[3] ~= '*' and holder ~= ARGV[3] then
  return 'lost'
end
local allowed, count = false, tonumber(ARGV[5])
for i = 6, 5 + count do allowed = allowed or ('"' .. ARGV[i] .. '"' == state) end
if not allowed then return state end
redis.call('HSET', KEYS[1], 'state', '"' .. ARGV[2] .. '"', unpack(ARGV, 6 + count))
redis.call('XADD', KEYS[4], '*', 'event', ARGV[4])
if ARGV[2] == 'running' or ARGV[2] == 'queued' then
  redis.call('SADD', KEYS[3], ARGV[1])
else
  redis.call('SREM', KEYS[3], ARGV[1])
end
if ARGV[2] ~= 'running' then redis.call('DEL', KEYS[2]) end
return 'ok'
"""


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

    # -- asked for by clients

    def create(
        self,
        request: TrainRequest,
        dataset_id: str,
        *,
        origin: Literal["api", "quick-start"] = "api",
        idempotency_key: str | None = None,
        max_active: int | None = None,
    ) -> tuple[RunRecord, bool]:
        """Record a run and enqueue its job in one transaction; with a known `idempotency_key`, return that run instead.

        Returns the record, and whether it is new. Raises `Conflict` where the key was used for another request,
        `QueueFull` where `max_active` runs have not ended.
        """
        key = f"tinygpt:idempotency:{idempotency_key}"
        with self._queue.connection.pipeline() as pipe:
            while True:
                # Whatever the answer depends on is watched before it is read: should it change, all is asked anew.
                pipe.watch(key, _ACTIVE)  # type: ignore[no-untyped-call]
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
                pipe.hset(_run_key(record.run_id), mapping=_fields(record.model_dump(mode="json")))
                pipe.zadd(_RUNS, {record.run_id: record.created_at})
                pipe.sadd(_ACTIVE, record.run_id)
                pipe.xadd(_events_key(record.run_id), {"event": _state_event(RunState.QUEUED, {})})
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
        fields = cast("dict[str, str]", self._redis.hgetall(_run_key(run_id)))
        if "run_id" not in fields:
            raise NotFound(f"There is no run {run_id[:80]!r}: GET /train lists them.")
        return RunRecord.model_validate({name: json.loads(value) for name, value in fields.items()}, extra="ignore")

    def newest(self, limit: int = 50) -> list[RunRecord]:
        """The latest runs, newest first."""
        return [self.get(run_id) for run_id in cast("list[str]", self._redis.zrevrange(_RUNS, 0, limit - 1))]

    def active(self) -> list[RunRecord]:
        """Runs that have not ended, oldest first."""
        return sorted(
            (self.get(run_id) for run_id in cast("set[str]", self._redis.smembers(_ACTIVE))), key=lambda r: r.created_at
        )

    def active_count(self) -> int:
        return self._redis.scard(_ACTIVE)

    def cancel(self, run_id: str) -> RunRecord:
        """End a queued run now; ask a running one to save and stop. Raises `NotFound`, `Conflict` if it has ended."""
        record = self.get(run_id)
        if self._move(run_id, RunState.CANCELLED, sources={RunState.QUEUED}, token="*", ended_at=time.time()):
            self._queue.remove(run_id)
            return self.get(run_id)
        record = self.get(run_id)
        if record.state.is_final:
            raise Conflict(f"Run {run_id} has already {_past(record.state)}, so it can't be cancelled.")
        self._set(run_id, cancel_requested=True)
        return self.get(run_id)

    # -- done by trainers

    def start(self, run_id: str, lease_seconds: float) -> Lease | None:
        """Take a queued run's lease and set it running; None where it is not queued or another worker has it."""
        record = self.get(run_id)
        if record.state is not RunState.QUEUED:
            return None
        lease = Lease.acquire(self._redis, run_id, lease_seconds)
        if lease is None:
            return None
        started_at = record.started_at or time.time()
        attempt = record.attempt + 1
        if not self._move(
            run_id, RunState.RUNNING, token=lease.mark, started_at=started_at, attempt=attempt, ended_at=None
        ):
            return None
        return lease

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
        self._move_or_lose(lease, state, math.inf, ended_at=time.time(), **fields)

    def give_back(self, lease: Lease) -> None:
        """Return a run whose worker was told to yield; it goes on from `last.pt`. Raises `LeaseLost`.

        Its job is enqueued by the next `recover`: RQ still has this job under way and forgets it when it returns.
        """
        attempt = self.get(lease.run_id).attempt - 1
        self._move_or_lose(lease, RunState.QUEUED, _GIVE_BACK_SECONDS, attempt=attempt, enqueued_at=0)

    def cancel_requested(self, run_id: str) -> bool:
        return bool(self._redis.hget(_run_key(run_id), "cancel_requested") == "true")

    def set_progress(self, run_id: str, progress: Progress) -> None:
        self._set(run_id, progress=progress.model_dump(mode="json"))

    def forget_lease(self, run_id: str, pid: int) -> None:
        """Let a run's lease lapse now if this machine's process `pid`, which is known to be dead, has it."""
        forget_lease(self._redis, run_id, pid)

    def recover(self) -> list[RunRecord]:
        """Requeue runs whose lease has lapsed, and queued runs whose job was lost. Returns those that it touched.

        Safe to call from any number of workers at once: each change checks what it changes.
        """
        return [self.get(record.run_id) for record in self.active() if self._recover(record)]

    def _recover(self, record: RunRecord) -> bool:
        if record.state is RunState.QUEUED:
            return self._end_lost(record) if record.cancel_requested else self._replace_lost_job(record.run_id)
        if self._redis.exists(lease_key(record.run_id)):
            return False
        if self._end_lost(record):
            return True
        moved = self._move(record.run_id, RunState.QUEUED, token="", enqueued_at=0)
        return moved and self._replace_lost_job(record.run_id)

    def _end_lost(self, record: RunRecord) -> bool:
        """End a lost run that was to be cancelled, or that has cost too many workers."""
        if record.cancel_requested:
            return self._move(record.run_id, RunState.CANCELLED, token="", ended_at=time.time())
        if record.attempt >= MAX_ATTEMPTS:
            error = ErrorDetail(
                message=f"The worker was lost {record.attempt} times, most likely for want of memory: "
                "train a smaller model, or with a smaller batch_size or context_length.",
                type="server_error",
                code="worker_lost",
            )
            return self._move(
                record.run_id, RunState.FAILED, token="", ended_at=time.time(), error=error.model_dump(mode="json")
            )
        return False

    # -- events

    def publish(self, run_id: str, event: RunEvent) -> RunEvent:
        """Append to the run's stream; returns the event with its id."""
        event_id = self._redis.xadd(
            _events_key(run_id),
            {"event": event.model_dump_json(exclude={"id"})},
            maxlen=_EVENTS_KEPT,
            approximate=True,
        )
        return event.model_copy(update={"id": event_id})

    def events(self, run_id: str, after: str = "0") -> Iterator[RunEvent]:
        """The run's events after the id `after`, oldest first. Raises `redis.ResponseError` for a malformed id."""
        while entries := cast(
            "list[tuple[str, dict[str, str]]]",
            self._redis.xrange(_events_key(run_id), min=f"({after}", count=_EVENTS_A_READ),
        ):
            for after, fields in entries:
                yield RunEvent.model_validate_json(fields["event"]).model_copy(update={"id": after})

    # -- the one place where a state changes

    def _move(
        self, run_id: str, to: RunState, *, token: str, sources: set[RunState] | None = None, **fields: Any
    ) -> bool:
        """Take an edge of `TRANSITIONS` if the run stands at its start and the lease is as `token` says."""
        allowed = sources or {state for state, targets in TRANSITIONS.items() if to in targets}
        arguments = [run_id, to.value, token, _state_event(to, fields), str(len(allowed))]
        arguments += [state.value for state in allowed]
        for name, value in _fields(fields).items():
            arguments += [name, value]
        keys = [_run_key(run_id), lease_key(run_id), _ACTIVE, _events_key(run_id)]
        moved = bool(self._redis.eval(_TRANSITION, len(keys), *keys, *arguments) == "ok")
        if moved and to.is_final:
            self._redis.expire(_events_key(run_id), _EVENTS_KEPT_SECONDS)
        return moved

    def _move_or_lose(self, lease: Lease, to: RunState, patience: float, **fields: Any) -> None:
        """Redis may be away for a moment: it is asked again for `patience` seconds, while the lease may be held."""
        deadline = time.monotonic() + patience
        while True:
            try:
                with redis_errors():
                    moved = self._move(lease.run_id, to, token=lease.mark, **fields)
            except RedisUnavailable:
                if not lease.may_be_held or time.monotonic() > deadline:
                    raise
                time.sleep(_ASK_AGAIN_SECONDS)
            else:
                break
        if not moved:
            raise LeaseLost(f"Run {lease.run_id} is no longer this worker's.")

    def _set(self, run_id: str, **fields: Any) -> None:
        self._redis.hset(_run_key(run_id), mapping=_fields(fields))

    def _enqueue(self, run_id: str, pipe: Any) -> None:
        """Add to `pipe`, which must be empty: RQ opens its MULTI."""
        self._queue.enqueue_call(
            JOB_FUNCTION, args=(run_id,), job_id=run_id, timeout=-1, result_ttl=0, failure_ttl=3600, pipeline=pipe
        )
        pipe.hset(_run_key(run_id), "enqueued_at", str(time.time()))

    def _replace_lost_job(self, run_id: str) -> bool:
        """Enqueue a queued run whose job neither waits nor is on its way to a worker. Of several callers, one does."""
        with self._queue.connection.pipeline() as pipe, contextlib.suppress(redis.WatchError):
            pipe.watch(_run_key(run_id))  # type: ignore[no-untyped-call]
            enqueued_at = float(cast("str | None", self._redis.hget(_run_key(run_id), "enqueued_at")) or 0)
            if time.time() - enqueued_at > _LOST_JOB_SECONDS and run_id not in self._queue.get_job_ids():
                self._enqueue(run_id, pipe)
                pipe.execute()
                return True
        return False


def _run_key(run_id: str) -> str:
    return f"tinygpt:run:{run_id}"


def _events_key(run_id: str) -> str:
    return f"tinygpt:events:{run_id}"


def _fields(values: dict[str, Any]) -> dict[Any, str]:
    return {name: json.dumps(value) for name, value in values.items()}


def _state_event(state: RunState, fields: dict[str, Any]) -> str:
    told = {name: fields[name] for name in ("attempt", "metrics", "promotion", "error") if fields.get(name)}
    event = RunEvent(type="state", at=time.time(), data={"state": state.value, **told})
    return event.model_dump_json(exclude={"id"})


def _past(state: RunState) -> str:
    return {RunState.SUCCEEDED: "succeeded", RunState.FAILED: "failed", RunState.CANCELLED: "been cancelled"}[state]
