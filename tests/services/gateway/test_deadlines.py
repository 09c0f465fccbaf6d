"""A deadline that passes before the first token: each endpoint, whole and as a stream."""

import asyncio
import time
from typing import Any

import httpx
import pytest

from tests.services.gateway.conftest import StartGateway

CHAT = {"messages": [{"role": "user", "content": "p"}]}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/generate", {"prompt": "p"}),
    ("/generate", {"prompt": "p", "stream": True}),
    ("/v1/completions", {"prompt": "p"}),
    ("/v1/completions", {"prompt": "p", "stream": True}),
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", CHAT | {"stream": True}),
]
NAMES = [path + (" stream" if "stream" in body else "") for path, body in REQUESTS]


class Stalled:
    """A model server that never answers; `deadlines` are those that it was given."""

    def __init__(self) -> None:
        self.deadlines: list[float] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.deadlines.append(float(request.headers["X-Deadline-Seconds"]))
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


@pytest.mark.parametrize(("path", "body"), [*REQUESTS, ("/explain", {"prompt": "p"})], ids=[*NAMES, "/explain"])
def test_the_gateway_ends_at_its_deadline_and_sends_it_upstream(
    start_gateway: StartGateway, path: str, body: dict[str, Any]
) -> None:
    upstream = Stalled()
    client = start_gateway(upstream, request_timeout=0.4)
    started = time.monotonic()
    response = client.post(path, json=body)

    assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert 0.4 <= time.monotonic() - started < 10
    assert len(upstream.deadlines) == 1
    assert 0 < upstream.deadlines[0] <= 0.4


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_request_that_waits_for_a_place_ends_at_its_deadline(start_gateway: StartGateway, stream: bool) -> None:
    upstream = Stalled()
    client = start_gateway(upstream, request_timeout=0.4, max_in_flight=1)
    started = time.monotonic()

    async def both() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=client.base_url, timeout=30, trust_env=False) as parallel:
            body = {"prompt": "p", "stream": stream}
            return list(await asyncio.gather(*(parallel.post("/generate", json=body) for _ in range(2))))

    assert [response.status_code for response in asyncio.run(both())] == [504, 504]
    assert time.monotonic() - started < 5
