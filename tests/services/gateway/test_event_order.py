"""A run that ends while its events are read: a follower still sees how it ended."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tinygpt.contracts.runs import RunEvent, RunState, TrainRequest
from tinygpt.runtime.runs import RunStore


def states(lines: Iterator[str]) -> list[str]:
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    return [event["data"]["state"] for event in events]


def followed(gateway: httpx.Client, run_id: str) -> list[str]:
    """The states of a run that a follower is sent until the stream ends."""
    with gateway.stream("GET", f"/train/{run_id}/events", timeout=10) as response:
        return states(response.iter_lines())


def test_a_run_that_ends_while_its_events_are_read_is_followed_to_its_end(
    gateway: httpx.Client, runs: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = runs.create(TrainRequest(), "d-1")[0].run_id
    lease = runs.start(run_id, 30)
    assert lease is not None
    read = RunStore.events
    ends = threading.Lock()

    def end_after_the_first_read(store: RunStore, *arguments: Any, **options: Any) -> Iterator[RunEvent]:
        events = list(read(store, *arguments, **options))
        if ends.acquire(blocking=False):
            runs.finish(lease, RunState.SUCCEEDED)
        return iter(events)

    monkeypatch.setattr(RunStore, "events", end_after_the_first_read)

    assert followed(gateway, run_id) == ["queued", "running", "succeeded"]


def test_a_run_that_ends_before_it_is_followed_is_sent_once(gateway: httpx.Client, runs: RunStore) -> None:
    run_id = runs.create(TrainRequest(), "d-1")[0].run_id
    runs.cancel(run_id)

    assert followed(gateway, run_id) == ["queued", "cancelled"]
