"""The only place where a run changes its state: `transition.lua`, which checks and writes in one step."""

import time
from importlib import resources
from typing import Any

import redis

from tinygpt.contracts.errors import LeaseLost, RedisUnavailable
from tinygpt.contracts.runs import TRANSITIONS, RunState
from tinygpt.runtime.lease import Lease, lease_key
from tinygpt.runtime.queue import redis_errors
from tinygpt.runtime.run_events import state_event
from tinygpt.runtime.run_record import ACTIVE_RUNS, events_key, run_key, to_fields

NOBODY = ""
"""As `holder`: the run must have no lease."""
ANYBODY = "*"
"""As `holder`: the lease does not matter."""
_RETRY_SECONDS = 0.2
_EVENTS_KEPT_SECONDS = 7 * 24 * 3600


class Transitions:
    """Takes the edges of `TRANSITIONS`, the table in `tinygpt.contracts.runs`."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection
        self._script = (resources.files("tinygpt.runtime") / "transition.lua").read_text(encoding="utf-8")

    def take(
        self, run_id: str, to: RunState, *, holder: str, sources: set[RunState] | None = None, **fields: Any
    ) -> bool:
        """Move the run to the state `to` and set `fields`. False, and nothing changes, if its state has no such edge
        or another than `holder` has its lease.

        `holder` is a lease's mark, `NOBODY` or `ANYBODY`. `sources` allows fewer states than the table does.
        """
        allowed = sources or {state for state, targets in TRANSITIONS.items() if to in targets}
        arguments = [run_id, to.value, holder, state_event(to, fields), str(len(allowed))]
        arguments += [state.value for state in allowed]
        for name, value in to_fields(fields).items():
            arguments += [name, value]
        keys = [run_key(run_id), lease_key(run_id), ACTIVE_RUNS, events_key(run_id)]
        moved = bool(self._redis.eval(self._script, len(keys), *keys, *arguments) == "ok")
        if moved and to.is_final:
            self._redis.expire(events_key(run_id), _EVENTS_KEPT_SECONDS)
        return moved

    def take_holding(self, lease: Lease, to: RunState, *, max_seconds: float, **fields: Any) -> None:
        """The same as the lease's holder. Retries for up to `max_seconds` if Redis is away and the lease may be held.

        Raises `LeaseLost` if the run is another worker's by now, `RedisUnavailable`.
        """
        deadline = time.monotonic() + max_seconds
        while True:
            try:
                with redis_errors():
                    moved = self.take(lease.run_id, to, holder=lease.mark, **fields)
            except RedisUnavailable:
                if not lease.may_be_held or time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_SECONDS)
            else:
                break
        if not moved:
            raise LeaseLost(f"Run {lease.run_id} is no longer this worker's.")
