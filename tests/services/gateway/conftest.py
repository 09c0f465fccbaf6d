"""A gateway under a real uvicorn, in front of a scripted model server, and the one look at every error."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from tests.services.conftest import ROWS, serving, settings_of_gateway
from tinygpt.contracts.errors import ErrorBody, NoModel, TinyGPTError
from tinygpt.contracts.generation import GenerateResponse, Timings, Usage
from tinygpt.http.sse import sse_event
from tinygpt.runtime.queue import connect, training_queue
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.volume import Volume

JSONL = "".join(row.to_json() + "\n" for row in ROWS)

BODY_ROWS = [json.loads(row.to_json()) for row in ROWS]

HEALTHY = {"status": "ok", "uptime_seconds": 1, "running": 0, "waiting": 0}

ANSWER = GenerateResponse(
    code="nums[::-1]",
    raw="nums[::-1]",
    source="model",
    finish_reason="eos",
    repaired=False,
    model="r-1",
    usage=Usage(prompt_tokens=1, completion_tokens=1),
    timings=Timings(queue=0, prefill=0, decode=0),
)

Upstream = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


async def model_server(request: httpx.Request) -> httpx.Response:
    """An upstream that has a model and answers at once."""
    if request.url.path == "/health":
        return httpx.Response(200, json=HEALTHY)
    if request.content and json.loads(request.content).get("stream"):
        event = sse_event(ANSWER.model_dump_json(), "answer")
        return httpx.Response(200, content=event, headers={"Content-Type": "text/event-stream"})
    return httpx.Response(200, content=ANSWER.model_dump_json(), headers={"Content-Type": "application/json"})


async def stalled(request: httpx.Request) -> httpx.Response:
    """An upstream that has a model and never answers."""
    if request.url.path == "/health":
        return httpx.Response(200, json=HEALTHY)
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


def refusing(error: TinyGPTError) -> Upstream:
    async def refuse(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/health":
            status = "no_model" if isinstance(error, NoModel) else "loading"
            return httpx.Response(503, json=HEALTHY | {"status": status, "reason": error.message})
        return httpx.Response(error.status, content=ErrorBody(error=error.detail()).model_dump_json())

    return refuse


async def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


StartGateway = Callable[..., httpx.Client]


@pytest.fixture
def start_gateway(gateway_settings: GatewaySettings) -> Iterator[StartGateway]:
    """`start_gateway(upstream, **settings)`: a client of a gateway under a real uvicorn."""
    with contextlib.ExitStack() as stack:

        def start(upstream: Upstream = model_server, **settings: Any) -> httpx.Client:
            app = create_app(gateway_settings.model_copy(update=settings), transport=httpx.MockTransport(upstream))
            url = stack.enter_context(serving(app))
            return stack.enter_context(httpx.Client(base_url=url, timeout=30, trust_env=False))

        yield start


@pytest.fixture(scope="session")
def shared_gateway(home: Path, redis_server: str) -> Iterator[httpx.Client]:
    app = create_app(settings_of_gateway(home, redis_server), transport=httpx.MockTransport(model_server))
    with serving(app) as url, httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def gateway(shared_gateway: httpx.Client, volume: Volume, redis_url: str) -> httpx.Client:
    """A client of a gateway that serves, on an empty volume and an empty Redis."""
    return shared_gateway


@pytest.fixture
def runs(gateway_settings: GatewaySettings) -> Iterator[RunStore]:
    with connect(gateway_settings) as decoding, connect(gateway_settings, decode_responses=False) as plain:
        yield RunStore(decoding, training_queue(plain))


def error_of(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error, after a look at its one shape and its headers."""
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error.keys() == {"message", "type", "code", "param", "request_id"}
    assert error["code"] == code
    assert error["request_id"] == response.headers["X-Request-Id"]
    assert error["message"].endswith(".")
    assert "Traceback" not in response.text
    assert ("Retry-After" in response.headers) is (status in (429, 503))
    if "Retry-After" in response.headers:
        assert int(response.headers["Retry-After"]) >= 1
    return error


def stored(volume: Volume) -> list[Path]:
    """Everything in the datasets folder, half-written things too."""
    return list(volume.datasets.iterdir()) if volume.datasets.exists() else []
