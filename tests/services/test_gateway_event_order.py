"""A run that ends while its events are read: a follower still sees how it ended."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from tests.services.conftest import serving
from tinygpt.contracts.runs import RunEvent, RunState, TrainRequest
from tinygpt.runtime.queue import connect, training_queue
from tinygpt.runtime.runs import RunStore


@pytest.fixture
def runs(gateway_settings: GatewaySettings) -> Iterator[RunStore]:
    with connect(gateway_settings) as decoding, connect(gateway_settings, decode_responses=False) as plain:
        yield RunStore(decoding, training_queue(plain))


def states(lines: Iterator[str]) -> list[str]:
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    return [event["data"]["state"] for event in events]


def followed(settings: GatewaySettings, run_id: str) -> list[str]:
    """The states of a run that a follower is sent until the stream ends."""
    with (
        serving(create_app(settings)) as url,
        httpx.Client(base_url=url, timeout=10, trust_env=False) as gateway,
        gateway.stream("GET", f"/train/{run_id}/events") as response,
    ):
        return states(response.iter_lines())


def test_a_run_that_ends_while_its_events_are_read_is_followed_to_its_end(
    gateway_settings: GatewaySettings, runs: RunStore, monkeypatch: pytest.MonkeyPatch
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

    assert followed(gateway_settings, run_id) == ["queued", "running", "succeeded"]


def test_a_run_that_ends_before_it_is_followed_is_sent_once(gateway_settings: GatewaySettings, runs: RunStore) -> None:
    run_id = runs.create(TrainRequest(), "d-1")[0].run_id
    runs.cancel(run_id)

    assert followed(gateway_settings, run_id) == ["queued", "cancelled"]
