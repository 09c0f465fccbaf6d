"""`GET /train/{id}/events`: following a run."""

import json

import httpx
import pytest

from tests.conftest import wait_until
from tests.services.gateway.conftest import BODY_ROWS, StartGateway, error_of
from tinygpt.contracts.runs import RunState
from tinygpt.runtime.runs import RunStore


def sent_events(response: httpx.Response) -> list[dict[str, str]]:
    blocks = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_the_events_of_an_ended_run_are_sent_and_the_stream_ends(gateway: httpx.Client, runs: RunStore) -> None:
    run_id = gateway.post("/train", json={"rows": BODY_ROWS}).json()["run_id"]
    lease = runs.start(run_id, 30)
    assert lease is not None
    runs.finish(lease, RunState.SUCCEEDED)

    response = gateway.get(f"/train/{run_id}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    events = sent_events(response)
    assert [json.loads(event["data"])["data"]["state"] for event in events] == ["queued", "running", "succeeded"]
    assert {event["event"] for event in events} == {"state"}

    rest = sent_events(gateway.get(f"/train/{run_id}/events", headers={"Last-Event-ID": events[0]["id"]}))
    assert rest == events[1:]


@pytest.mark.parametrize("last", ["x", "1-", "-1", "1-2-3", "99999999999999999999", "0-99999999999999999999", "(1"])
def test_a_last_event_id_that_is_none_is_422(gateway: httpx.Client, last: str) -> None:
    run_id = gateway.post("/train", json={"rows": BODY_ROWS}).json()["run_id"]
    gateway.delete(f"/train/{run_id}")
    error_of(gateway.get(f"/train/{run_id}/events", headers={"Last-Event-ID": last}), 422, "invalid_request")


def test_one_follower_too_many_is_429_and_one_that_leaves_makes_room(start_gateway: StartGateway) -> None:
    gateway = start_gateway(max_event_streams=1)
    url = f"/train/{gateway.post('/train', json={'rows': BODY_ROWS}).json()['run_id']}/events"
    with gateway.stream("GET", url) as following:
        lines = following.iter_lines()
        assert next(lines)
        error_of(gateway.get(url), 429, "queue_full")

    def let_in() -> bool:
        with gateway.stream("GET", url) as response:
            return response.status_code == 200

    wait_until(let_in, "the follower's place is free again", seconds=10)
