"""The events of a run, a Redis stream: its changes of state, its progress, its evaluations."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

import redis

from tinygpt.contracts.runs import RunEvent, RunState
from tinygpt.runtime.run_record import events_key

_MAX_EVENTS = 5000
_EVENTS_PER_READ = 1000


def state_event(state: RunState, fields: Mapping[str, Any]) -> str:
    """The event of a change of state, as JSON. It has those of the changed `fields` that a reader wants to know."""
    shown = {name: fields[name] for name in ("attempt", "metrics", "promotion", "error") if fields.get(name)}
    event = RunEvent(type="state", at=time.time(), data={"state": state.value, **shown})
    return event.model_dump_json(exclude={"id"})


def append_event(connection: redis.Redis, run_id: str, event: RunEvent) -> RunEvent:
    """Append to the run's stream, which keeps about the last 5000. Returns the event with its id."""
    event_id = connection.xadd(
        events_key(run_id),
        {"event": event.model_dump_json(exclude={"id"})},
        maxlen=_MAX_EVENTS,
        approximate=True,
    )
    return event.model_copy(update={"id": event_id})


def read_events(connection: redis.Redis, run_id: str, after: str = "0") -> Iterator[RunEvent]:
    """The events after the id `after`, oldest first. Raises `redis.ResponseError` for a malformed id."""
    while entries := cast(
        "list[tuple[str, dict[str, str]]]",
        connection.xrange(events_key(run_id), min=f"({after}", count=_EVENTS_PER_READ),
    ):
        for after, fields in entries:
            yield RunEvent.model_validate_json(fields["event"]).model_copy(update={"id": after})
