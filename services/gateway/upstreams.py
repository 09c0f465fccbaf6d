"""The model servers: which one gets a request, when it is retried, and what a failure means to the client."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from dataclasses import dataclass

import httpx
import structlog
import tenacity
from pydantic import ValidationError

from services.gateway.connections import Connections
from tinygpt.contracts.errors import (
    DeadlineExceeded,
    ErrorBody,
    NoModel,
    QueueFull,
    TinyGPTError,
    Unavailable,
    UpstreamUnavailable,
)
from tinygpt.contracts.models import ModelServerHealth
from tinygpt.http.deadline import DEADLINE_SECONDS
from tinygpt.http.request_id import REQUEST_ID
from tinygpt.http.sse import whole_events

log = structlog.get_logger()

_MAX_FAILURES = 3
_EJECTED_SECONDS = 5.0
_MAX_ATTEMPTS = 4
_PROBE_SECONDS = 1.0


@dataclass(frozen=True)
class UpstreamRequest:
    """A request to one of the model servers' endpoints: GET without a body, POST with one, which is JSON."""

    path: str
    body: bytes | None = None
    stream: bool = False
    """True if the answer is a stream of events."""
    request_id: str | None = None

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"


class Upstream:
    """One model server. After three failures in a row it is ejected: for five seconds, others are preferred."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.in_flight = 0
        self.failures = 0
        self.ejected_until = 0.0

    def succeeded(self) -> None:
        self.failures = 0

    def failed(self) -> None:
        self.failures += 1
        if self.failures >= _MAX_FAILURES:
            self.ejected_until = time.monotonic() + _EJECTED_SECONDS


class ModelServers:
    """Sends a request to the least busy model server, and to another one if that fails or is full.

    This is the only retry loop of the stack. It stays inside the caller's deadline, which is in the event loop's time.
    Nothing is retried once an answer has begun.
    """

    def __init__(self, urls: Sequence[str], transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.upstreams = [Upstream(url) for url in urls]
        self._client = httpx.AsyncClient(transport=transport or Connections(), timeout=httpx.Timeout(None, connect=2.0))

    async def close(self) -> None:
        await self._client.aclose()

    def choose(self, tried: Collection[Upstream] = ()) -> Upstream:
        """The least busy upstream that is not ejected, if possible one that was not `tried`.

        If all are ejected, the one whose time is over first.
        """
        now = time.monotonic()
        return min(
            self.upstreams,
            key=lambda upstream: (max(0.0, upstream.ejected_until - now), upstream in tried, upstream.in_flight),
        )

    async def send(self, request: UpstreamRequest, *, deadline: float) -> bytes:
        """A model server's whole answer, as JSON.

        Raises the model server's own error, `UpstreamUnavailable` if none answers, or `DeadlineExceeded`.
        """
        try:
            async with asyncio.timeout_at(deadline), self._successful_response(request, deadline) as response:
                return await response.aread()
        except TimeoutError:
            raise DeadlineExceeded("The model server did not answer in time: ask for fewer max_new_tokens.") from None

    async def stream(self, request: UpstreamRequest, *, deadline: float) -> AsyncGenerator[bytes, None]:
        """A model server's events as they come. Raises what `send` does, except `DeadlineExceeded`: the deadline ends
        the retries, and the caller ends the stream."""
        async with (
            self._successful_response(request, deadline) as response,
            contextlib.aclosing(whole_events(response.aiter_bytes())) as events,
        ):
            async for event in events:
                yield event

    @contextlib.asynccontextmanager
    async def _successful_response(
        self, request: UpstreamRequest, deadline: float
    ) -> AsyncGenerator[httpx.Response, None]:
        """A successful response, its body still unread. Retries until a model server gives one."""
        time_left = deadline - asyncio.get_running_loop().time()
        tried: list[Upstream] = []
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: self._should_retry(error, tried)),
            stop=tenacity.stop_after_attempt(_MAX_ATTEMPTS) | tenacity.stop_before_delay(max(0.0, time_left)),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2.0),  # full jitter
            reraise=True,
        )
        async with contextlib.AsyncExitStack() as stack:
            async for attempt in attempts:
                with attempt:
                    tried.append(self.choose(tried))
                    response = await stack.enter_async_context(self._attempt(tried[-1], request, deadline))
            with _transport_errors(tried[-1]):
                yield response

    def _should_retry(self, error: BaseException, tried: Collection[Upstream]) -> bool:
        """True if another server may have a place, or the same one may be available in a moment.

        Without any model, it is the client who waits for the first one.
        """
        if isinstance(error, QueueFull):
            return self.choose(tried) not in tried
        return isinstance(error, Unavailable) and not isinstance(error, NoModel)

    @contextlib.asynccontextmanager
    async def _attempt(
        self, upstream: Upstream, request: UpstreamRequest, deadline: float
    ) -> AsyncGenerator[httpx.Response, None]:
        """One attempt. Raises the error that `upstream` answers with, or `UpstreamUnavailable`."""
        seconds = max(0.001, deadline - asyncio.get_running_loop().time())
        headers = {DEADLINE_SECONDS: f"{seconds:.3f}"}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        if request.request_id is not None:
            headers[REQUEST_ID] = request.request_id
        outgoing = self._client.build_request(
            request.method, upstream.url + request.path, content=request.body, headers=headers
        )
        upstream.in_flight += 1
        try:
            with _transport_errors(upstream):
                response = await self._client.send(outgoing, stream=True)
                error = await _error_of(response, request)
            if isinstance(error, Unavailable):
                upstream.failed()
            else:
                upstream.succeeded()
            if error is not None:
                raise error
            async with contextlib.aclosing(response):
                yield response
        finally:
            upstream.in_flight -= 1

    async def health(self) -> dict[str, ModelServerHealth | None]:
        """By URL, what each model server says; None for one that can't be reached."""
        answers = await asyncio.gather(*(self._health_of(upstream) for upstream in self.upstreams))
        return {upstream.url: health for upstream, health in zip(self.upstreams, answers, strict=True)}

    async def _health_of(self, upstream: Upstream) -> ModelServerHealth | None:
        try:
            response = await self._client.get(f"{upstream.url}/health", timeout=_PROBE_SECONDS)
            return ModelServerHealth.model_validate_json(response.content)
        except (httpx.TransportError, ValidationError):
            return None


@contextlib.contextmanager
def _transport_errors(upstream: Upstream) -> Iterator[None]:
    """Turns a failed connection to `upstream` into `UpstreamUnavailable`."""
    try:
        yield
    except httpx.TransportError as error:
        upstream.failed()
        log.warning("model server can't be reached", url=upstream.url, reason=str(error) or type(error).__name__)
        raise UpstreamUnavailable("No model server can be reached: try again shortly.", retry_after=2) from error


async def _error_of(response: httpx.Response, request: UpstreamRequest) -> TinyGPTError | None:
    """None if the response is an answer, otherwise its error. A server that sends neither is no model server."""
    content_type = response.headers.get("Content-Type", "")
    if response.is_success and content_type.startswith("text/event-stream" if request.stream else "application/json"):
        return None
    retry_after = response.headers.get("Retry-After", "")
    try:
        detail = ErrorBody.model_validate_json(await response.aread()).error
    except ValidationError:
        await response.aclose()
        return UpstreamUnavailable(
            f"The model server answered {response.status_code} and nothing that can be read: try again shortly.",
            retry_after=2,
        )
    return TinyGPTError.from_detail(detail, retry_after=float(retry_after) if retry_after.isdecimal() else None)
