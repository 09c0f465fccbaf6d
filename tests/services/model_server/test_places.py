"""Slots and the queue: who gets a place, who is refused, and who frees one by leaving."""

import threading

import httpx
import pytest

from tests.conftest import wait_until
from tests.services.model_server.conftest import Gate, count, health, sent


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_its_slot(served: httpx.Client, gate: Gate, stream: bool) -> None:
    gate.shut()
    with sent(served, {"prompt": "p", "stream": stream}):
        wait_until(lambda: health(served).running == 1, "it is in a slot")
    wait_until(lambda: health(served).running == 0, "the slot is free", seconds=5)
    assert count(served, 'tinygpt_request_success_total{finished_reason="cancelled"}') == 1


def test_a_client_that_goes_away_while_it_waits_frees_its_place(served: httpx.Client, gate: Gate) -> None:
    gate.shut()
    with sent(served, {"prompt": "p"}):
        wait_until(lambda: health(served).running == 1, "one is in a slot")
        with sent(served, {"prompt": "p", "stream": True}):
            wait_until(lambda: health(served).waiting == 1, "one waits")
        wait_until(lambda: health(served).waiting == 0, "its place is free", seconds=5)
        assert health(served).running == 1


@pytest.mark.parametrize("stream", [False, True])
def test_one_request_too_many_is_429_and_one_that_leaves_makes_room(
    served: httpx.Client, gate: Gate, stream: bool
) -> None:
    gate.shut()
    url = f"{served.base_url}/generate"
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(httpx.post(url, json={"prompt": "p"}, timeout=30).status_code))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: (health(served).running, health(served).waiting) == (1, 1), "both are held")
    refused = served.post("/generate", json={"prompt": "p", "stream": stream})
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "queue_full"
    assert refused.headers["Retry-After"]
    gate.open()
    for thread in threads:
        thread.join()
    assert answers == [200, 200]
    assert served.post("/generate", json={"prompt": "p"}).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("prompts", "code"), [(["p", "p", "p"], "invalid_request"), (["p", "x" * 10_000], "context_length_exceeded")]
)
def test_of_several_prompts_none_is_taken_where_one_can_not_be(
    served: httpx.Client, prompts: list[str], code: str, stream: bool
) -> None:
    refused = served.post("/v1/completions", json={"prompt": prompts, "stream": stream})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)
    assert served.post("/generate", json={"prompt": "p"}).status_code == 200
    assert count(served, 'tinygpt_request_success_total{finished_reason="cancelled"}') == 0


@pytest.mark.parametrize("stream", [False, True])
def test_of_several_prompts_none_waits_where_not_all_may(served: httpx.Client, gate: Gate, stream: bool) -> None:
    gate.shut()
    with sent(served, {"prompt": "p"}):
        wait_until(lambda: health(served).running == 1, "one is in a slot")
        refused = served.post("/v1/completions", json={"prompt": ["p", "p"], "stream": stream})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert health(served).waiting == 0
