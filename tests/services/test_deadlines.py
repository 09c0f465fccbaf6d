"""A deadline that passes before the first token: each endpoint, whole and as a stream, at both services."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from tests.conftest import wait_until
from tests.services.conftest import PROMPT, Gate, Server, health, serving, store_scripted_model, wait_for_model
from tinygpt.runtime.volume import Volume

CHAT = {"messages": [{"role": "user", "content": PROMPT}]}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/generate", {"prompt": PROMPT}),
    ("/generate", {"prompt": PROMPT, "stream": True}),
    ("/v1/completions", {"prompt": PROMPT}),
    ("/v1/completions", {"prompt": PROMPT, "stream": True}),
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", CHAT | {"stream": True}),
]
NAMES = [path + (" stream" if "stream" in body else "") for path, body in REQUESTS]


@pytest.fixture
def server_that_waits(server: Server, volume: Volume, gate: Gate) -> httpx.Client:
    """A model server whose decoder writes nothing."""
    store_scripted_model(volume, "r-1", "nums[::-1]")
    client = server(model_server_decoder="torch", model_server_slots=2)
    wait_for_model(client, "r-1")
    gate.shut()
    return client


@pytest.mark.parametrize(("path", "body"), REQUESTS, ids=NAMES)
def test_the_model_server_gives_up_at_its_deadline_and_frees_the_slot(
    server_that_waits: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    started = time.monotonic()
    response = server_that_waits.post(path, json=body, headers={"X-Deadline-Seconds": "0.3"})

    assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert 0.3 <= time.monotonic() - started < 10
    wait_until(lambda: health(server_that_waits).running == 0, "the slot is free")


@contextlib.contextmanager
def stalled_gateway(settings: GatewaySettings, told: list[float]) -> Iterator[httpx.Client]:
    """A gateway before a model server that never answers; `told` collects the deadlines that it is told."""

    async def stalled(request: httpx.Request) -> httpx.Response:
        told.append(float(request.headers["X-Deadline-Seconds"]))
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    app = create_app(settings, transport=httpx.MockTransport(stalled))
    with serving(app) as url, httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(("path", "body"), [*REQUESTS, ("/explain", {"prompt": PROMPT})], ids=[*NAMES, "/explain"])
def test_the_gateway_gives_up_at_its_own_deadline_and_tells_it_to_the_model_server(
    gateway_settings: GatewaySettings, path: str, body: dict[str, Any]
) -> None:
    told: list[float] = []
    with stalled_gateway(gateway_settings.model_copy(update={"request_timeout": 0.4}), told) as client:
        started = time.monotonic()
        response = client.post(path, json=body)

    assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert 0.4 <= time.monotonic() - started < 10
    assert len(told) == 1
    assert 0 < told[0] <= 0.4


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_request_that_waits_for_a_place_gives_up_at_its_deadline(
    gateway_settings: GatewaySettings, stream: bool
) -> None:
    told: list[float] = []
    settings = gateway_settings.model_copy(update={"request_timeout": 0.4, "max_in_flight": 1})
    with stalled_gateway(settings, told) as client:

        async def both() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=client.base_url, timeout=30, trust_env=False) as parallel:
                body = {"prompt": PROMPT, "stream": stream}
                return list(await asyncio.gather(*(parallel.post("/generate", json=body) for _ in range(2))))

        responses = asyncio.run(both())

    assert [response.status_code for response in responses] == [504, 504]
    assert len(told) == 1
