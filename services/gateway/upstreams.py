"""The model servers: which one to ask, when to ask again, and what their failures mean to a client."""

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

_FAILURES_BEFORE_REST = 3
_REST_SECONDS = 5.0
_ATTEMPTS = 4
_PROBE_SECONDS = 1.0


@dataclass(frozen=True)
class Question:
    """What a model server is asked: one of its endpoints, with the JSON that it takes."""

    path: str
    body: bytes | None = None
    stream: bool = False
    """Whether the answer is a stream of events."""

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"


class Upstream:
    """One model server, as the gateway sees it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.in_flight = 0
        self.failures = 0
        self.resting_until = 0.0

    def succeeded(self) -> None:
        self.failures = 0

    def failed(self) -> None:
        self.failures += 1
        if self.failures >= _FAILURES_BEFORE_REST:
            self.resting_until = time.monotonic() + _REST_SECONDS


class ModelServers:
    """Asks the least busy model server, and another one if that fails before it has answered, or is full.

    This is the only retry loop of the stack. It stays inside the caller's deadline.
    """

    def __init__(self, urls: Sequence[str], transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.upstreams = [Upstream(url) for url in urls]
        self._client = httpx.AsyncClient(transport=transport or Connections(), timeout=httpx.Timeout(None, connect=2.0))

    async def close(self) -> None:
        await self._client.aclose()

    def choose(self, asked: Collection[Upstream] = ()) -> Upstream:
        """The least busy one that is not resting, rather not one of `asked`; if all rest, the one that wakes first."""
        now = time.monotonic()
        return min(
            self.upstreams,
            key=lambda upstream: (max(0.0, upstream.resting_until - now), upstream in asked, upstream.in_flight),
        )

    async def ask(self, question: Question, *, deadline: float, request_id: str | None) -> bytes:
        """A model server's whole answer, as JSON. `deadline` is in the event loop's time.

        Raises the model server's own error, `UpstreamUnavailable` when none answers, or `DeadlineExceeded`.
        """
        try:
            async with asyncio.timeout_at(deadline), self._answering(question, deadline, request_id) as response:
                return await response.aread()
        except TimeoutError:
            raise DeadlineExceeded("The model server did not answer in time: ask for fewer max_new_tokens.") from None

    async def stream(
        self, question: Question, *, deadline: float, request_id: str | None
    ) -> AsyncGenerator[bytes, None]:
        """A model server's events as they come. Raises what `ask` does before the first event, but for the deadline,
        which is the caller's part; after that, whatever happens, it asks nobody again."""
        async with (
            self._answering(question, deadline, request_id) as response,
            contextlib.aclosing(whole_events(response.aiter_bytes())) as events,
        ):
            async for event in events:
                yield event

    @contextlib.asynccontextmanager
    async def _answering(
        self, question: Question, deadline: float, request_id: str | None
    ) -> AsyncGenerator[httpx.Response, None]:
        """A response that says yes, its body still to be read. Model servers are asked until one gives it."""
        time_left = deadline - asyncio.get_running_loop().time()
        asked: list[Upstream] = []
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: self._may_be_asked_again(error, asked)),
            stop=tenacity.stop_after_attempt(_ATTEMPTS) | tenacity.stop_before_delay(max(0.0, time_left)),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2.0),  # full jitter
            reraise=True,
        )
        async with contextlib.AsyncExitStack() as stack:
            async for attempt in attempts:
                with attempt:
                    asked.append(self.choose(asked))
                    response = await stack.enter_async_context(self._asking(asked[-1], question, deadline, request_id))
            with _transport_errors(asked[-1]):
                yield response

    def _may_be_asked_again(self, error: BaseException, asked: Collection[Upstream]) -> bool:
        """Nothing was answered yet, and a moment may change that, or a server that is not full. Waiting for a first
        model is the client's part."""
        if isinstance(error, QueueFull):
            return self.choose(asked) not in asked
        return isinstance(error, Unavailable) and not isinstance(error, NoModel)

    @contextlib.asynccontextmanager
    async def _asking(
        self, upstream: Upstream, question: Question, deadline: float, request_id: str | None
    ) -> AsyncGenerator[httpx.Response, None]:
        seconds = max(0.001, deadline - asyncio.get_running_loop().time())
        headers = {DEADLINE_SECONDS: f"{seconds:.3f}"}
        if question.body is not None:
            headers["Content-Type"] = "application/json"
        if request_id is not None:
            headers[REQUEST_ID] = request_id
        request = self._client.build_request(
            question.method, upstream.url + question.path, content=question.body, headers=headers
        )
        upstream.in_flight += 1
        try:
            with _transport_errors(upstream):
                response = await self._client.send(request, stream=True)
                error = await _error_of(response, question)
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
        """Every model server's own word, None for one that can't be reached."""
        found = await asyncio.gather(*(self._health_of(upstream) for upstream in self.upstreams))
        return {upstream.url: health for upstream, health in zip(self.upstreams, found, strict=True)}

    async def _health_of(self, upstream: Upstream) -> ModelServerHealth | None:
        try:
            response = await self._client.get(f"{upstream.url}/health", timeout=_PROBE_SECONDS)
            return ModelServerHealth.model_validate_json(response.content)
        except (httpx.TransportError, ValidationError):
            return None


@contextlib.contextmanager
def _transport_errors(upstream: Upstream) -> Iterator[None]:
    """Turns what goes wrong on the way to `upstream` into `UpstreamUnavailable`."""
    try:
        yield
    except httpx.TransportError as error:
        upstream.failed()
        log.warning("model server can't be reached", url=upstream.url, reason=str(error) or type(error).__name__)
        raise UpstreamUnavailable("No model server can be reached: try again shortly.", retry_after=2) from error


async def _error_of(response: httpx.Response, question: Question) -> TinyGPTError | None:
    """None where an answer begins; else the error in its place. What sends neither is no model server."""
    content_type = response.headers.get("Content-Type", "")
    if response.is_success and content_type.startswith("text/event-stream" if question.stream else "application/json"):
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
