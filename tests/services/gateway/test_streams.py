"""The gateway's streams: passed on as they come, held to their deadline, never begun again."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from tests.conftest import wait_until
from tests.services.conftest import serving
from tinygpt.contracts.errors import ErrorBody, ModelLoading, QueueFull
from tinygpt.http.sse import sse_event

FIRST, SECOND = sse_event('{"text": "a"}', "delta"), sse_event('{"code": "ab"}', "answer")
Handler = Callable[[httpx.Request], "httpx.Response"]


class Upstream(httpx.AsyncBaseTransport):
    """A model server whose stream's second half waits until `go_on` is called."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.failures: list[Handler] = []
        """What it does first, one for each request."""
        self.breaks = False
        """Whether the connection breaks in the place of the second half."""
        self.closed = 0
        self._go_on = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._loop = asyncio.get_running_loop()
        self.asked.append(request)
        if self.failures:
            return self.failures.pop(0)(request)
        return httpx.Response(
            200, headers={"Content-Type": "text/event-stream"}, stream=_Stream(self._halves(), self._close)
        )

    async def _halves(self) -> AsyncIterator[bytes]:
        yield FIRST + b"event: ans"
        await self._go_on.wait()
        if self.breaks:
            raise httpx.RemoteProtocolError("peer closed connection")
        yield SECOND[len("event: ans") :]

    def go_on(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._go_on.set)

    def _close(self) -> None:
        self.closed += 1


class _Stream(httpx.AsyncByteStream):
    def __init__(self, chunks: AsyncIterator[bytes], on_close: Callable[[], None]) -> None:
        self._chunks = chunks
        self._on_close = on_close

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def aclose(self) -> None:
        self._on_close()


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


StartGateway = Callable[..., httpx.Client]


@pytest.fixture
def start_gateway(gateway_settings: GatewaySettings, upstream: Upstream) -> Iterator[StartGateway]:
    """`start_gateway(**settings)`: a client of a gateway under a real uvicorn, before `upstream`."""
    with contextlib.ExitStack() as stack:

        def start(**settings: Any) -> httpx.Client:
            app = create_app(gateway_settings.model_copy(update=settings), transport=upstream)
            url = stack.enter_context(serving(app))
            return stack.enter_context(httpx.Client(base_url=url, timeout=30, trust_env=False))

        yield start


@contextlib.contextmanager
def stream(gateway: httpx.Client, **headers: str) -> Iterator[tuple[httpx.Response, Iterator[bytes]]]:
    body = {"prompt": "p", "stream": True}
    with gateway.stream("POST", "/generate", json=body, headers=headers) as response:
        yield response, response.iter_raw()


def in_flight(gateway: httpx.Client, count: int) -> Callable[[], bool]:
    return lambda: f"tinygpt_gateway_in_flight {count}.0" in gateway.get("/metrics").text


def refuse(error: ModelLoading | QueueFull) -> Handler:
    body = ErrorBody(error=error.detail()).model_dump_json()
    return lambda _request: httpx.Response(error.status, content=body, headers={"Retry-After": "2"})


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


def test_an_event_is_passed_on_at_once_and_the_place_is_held_to_the_end(
    start_gateway: StartGateway, upstream: Upstream
) -> None:
    gateway = start_gateway(max_in_flight=1, max_queue=0)
    with stream(gateway, **{"X-Request-Id": "mine"}) as (response, chunks):
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["X-Request-Id"] == "mine"
        assert next(chunks) == FIRST
        assert in_flight(gateway, 1)()
        refused = gateway.post("/generate", json={"prompt": "p"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        upstream.go_on()
        assert b"".join(chunks) == SECOND
    wait_until(in_flight(gateway, 0), "its place is free")
    assert upstream.closed == 1
    assert upstream.asked[0].headers["X-Request-Id"] == "mine"
    assert 0 < float(upstream.asked[0].headers["X-Deadline-Seconds"]) <= 10
    assert json.loads(upstream.asked[0].content) == {"prompt": "p", "stream": True}


@pytest.mark.parametrize("failure", [unreachable, refuse(ModelLoading("loading"))], ids=["unreachable", "loading"])
def test_before_the_first_event_it_is_asked_again(
    start_gateway: StartGateway, upstream: Upstream, failure: Handler
) -> None:
    upstream.failures = [failure, failure]
    with stream(start_gateway()) as (response, chunks):
        assert response.status_code == 200
        assert next(chunks) == FIRST
        upstream.go_on()
        assert b"".join(chunks) == SECOND
    assert len(upstream.asked) == 3


def test_an_error_before_the_first_event_is_an_error_like_any_other(
    start_gateway: StartGateway, upstream: Upstream
) -> None:
    upstream.failures = [refuse(QueueFull("full"))]
    with stream(start_gateway()) as (response, _):
        assert response.status_code == 429
        assert json.loads(response.read())["error"]["code"] == "queue_full"
        assert response.headers["Retry-After"]


def test_a_stream_that_breaks_ends_with_an_error_and_is_not_begun_again(
    start_gateway: StartGateway, upstream: Upstream
) -> None:
    """The half event that came before the break is left out."""
    upstream.breaks = True
    gateway = start_gateway()
    with stream(gateway) as (_, chunks):
        assert next(chunks) == FIRST
        upstream.go_on()
        last = b"".join(chunks)
    assert last.startswith(b"event: error\ndata: ")
    assert json.loads(last.split(b"data: ")[1])["error"]["code"] == "model_server_unavailable"
    assert len(upstream.asked) == 1
    wait_until(in_flight(gateway, 0), "its place is free")


def test_a_deadline_that_passes_in_the_stream_ends_it_with_an_error(
    start_gateway: StartGateway, upstream: Upstream
) -> None:
    gateway = start_gateway(request_timeout=0.5)
    with stream(gateway) as (_, chunks):
        assert next(chunks) == FIRST
        last = b"".join(chunks)
    assert json.loads(last.split(b"data: ")[1])["error"]["code"] == "deadline_exceeded"
    wait_until(in_flight(gateway, 0), "its place is free")
    assert upstream.closed == 1


def test_a_client_that_goes_away_closes_the_stream_behind_it(start_gateway: StartGateway, upstream: Upstream) -> None:
    gateway = start_gateway()
    with stream(gateway) as (_, chunks):
        assert next(chunks) == FIRST
        wait_until(in_flight(gateway, 1), "it is upstream")
    wait_until(in_flight(gateway, 0), "its place is free", seconds=5)
    assert upstream.closed == 1


def test_what_is_no_stream_of_events_is_unavailable(start_gateway: StartGateway, upstream: Upstream) -> None:
    upstream.failures = [lambda _request: httpx.Response(200, json={"code": "ab"})] * 4
    with stream(start_gateway()) as (response, _):
        assert response.status_code == 503


def test_a_stream_that_is_cut_off_when_the_gateway_stops_ends_with_an_error(
    gateway_settings: GatewaySettings, upstream: Upstream
) -> None:
    """uvicorn cancels what has not ended when the time to drain is over: here two seconds."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(serving(create_app(gateway_settings, transport=upstream)))
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client, stream(client) as (_, chunks):
            assert next(chunks) == FIRST
            stack.close()
            last = b"".join(chunks)
    assert json.loads(last.split(b"data: ")[1])["error"]["code"] == "draining"


def test_the_models_are_listed_though_every_place_is_taken(start_gateway: StartGateway, upstream: Upstream) -> None:
    gateway = start_gateway(max_in_flight=1, max_queue=0)
    with stream(gateway) as (_, chunks):
        assert next(chunks) == FIRST
        upstream.failures = [lambda _request: httpx.Response(200, json={"object": "list", "data": []})]
        assert gateway.get("/v1/models").status_code == 200
