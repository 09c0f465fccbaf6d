"""The model servers: which one to ask, when to ask again, and what their failures mean to a client."""

import asyncio
import time
from collections.abc import Collection, Sequence

import httpx
import structlog
import tenacity
from pydantic import ValidationError

from tinygpt.contracts.errors import (
    DeadlineExceeded,
    ErrorBody,
    NoModel,
    TinyGPTError,
    Unavailable,
    UpstreamUnavailable,
)
from tinygpt.contracts.generation import GenerateRequest, GenerateResponse
from tinygpt.contracts.models import ModelServerHealth
from tinygpt.runtime.web import REQUEST_ID

log = structlog.get_logger()

_FAILURES_BEFORE_REST = 3
_REST_SECONDS = 5.0
_ATTEMPTS = 4
_PROBE_SECONDS = 1.0


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
    """Asks the least busy model server, and another one if that fails before it has answered.

    This is the only retry loop of the stack. It stays inside the caller's deadline.
    """

    def __init__(self, urls: Sequence[str], transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.upstreams = [Upstream(url) for url in urls]
        # How many requests go out at once is `Admission`'s to say, not the pool's.
        self._client = httpx.AsyncClient(
            transport=transport, timeout=httpx.Timeout(None, connect=2.0), limits=httpx.Limits(max_connections=None)
        )

    async def close(self) -> None:
        await self._client.aclose()

    def choose(self, asked: Collection[Upstream] = ()) -> Upstream:
        """The least busy one that is not resting, rather not one of `asked`; if all rest, the one that wakes first."""
        now = time.monotonic()
        return min(
            self.upstreams,
            key=lambda upstream: (max(0.0, upstream.resting_until - now), upstream in asked, upstream.in_flight),
        )

    async def generate(self, request: GenerateRequest, *, deadline: float, request_id: str | None) -> GenerateResponse:
        """Forward a request. `deadline` is in the event loop's time.

        Raises the model server's own error, `UpstreamUnavailable` when none answers, or `DeadlineExceeded`.
        """
        loop = asyncio.get_running_loop()
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_may_be_asked_again),
            stop=tenacity.stop_after_attempt(_ATTEMPTS) | tenacity.stop_before_delay(max(0.0, deadline - loop.time())),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2.0),  # full jitter
            reraise=True,
        )
        asked: list[Upstream] = []
        try:
            async with asyncio.timeout_at(deadline):
                async for attempt in attempts:
                    with attempt:
                        asked.append(self.choose(asked))
                        return await self._ask(asked[-1], request, deadline - loop.time(), request_id)
        except TimeoutError:
            raise DeadlineExceeded("The model server did not answer in time: ask for fewer max_new_tokens.") from None
        raise AssertionError("unreachable: the last attempt raises")

    async def _ask(
        self, upstream: Upstream, request: GenerateRequest, seconds: float, request_id: str | None
    ) -> GenerateResponse:
        headers = {"X-Deadline-Seconds": f"{max(seconds, 0.001):.3f}"} | (
            {REQUEST_ID: request_id} if request_id else {}
        )
        upstream.in_flight += 1
        try:
            response = await self._client.post(
                f"{upstream.url}/generate", json=request.model_dump(mode="json"), headers=headers
            )
        except httpx.TransportError as error:
            upstream.failed()
            log.warning("model server can't be reached", url=upstream.url, reason=str(error) or type(error).__name__)
            raise UpstreamUnavailable("No model server can be reached: try again shortly.", retry_after=2) from error
        finally:
            upstream.in_flight -= 1
        answer = _answer_of(response)
        if isinstance(answer, Unavailable):
            upstream.failed()
        else:
            upstream.succeeded()
        if isinstance(answer, TinyGPTError):
            raise answer
        return answer

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


def _may_be_asked_again(error: BaseException) -> bool:
    """Nothing was answered yet, and a moment may change that. Waiting for a first model is the client's part."""
    return isinstance(error, Unavailable) and not isinstance(error, NoModel)


def _answer_of(response: httpx.Response) -> GenerateResponse | TinyGPTError:
    """The model server's answer or its error; where neither can be read, what answered was no model server."""
    retry_after = response.headers.get("Retry-After", "")
    try:
        if response.is_success:
            return GenerateResponse.model_validate_json(response.content)
        detail = ErrorBody.model_validate_json(response.content).error
    except ValidationError:
        return UpstreamUnavailable(
            f"The model server answered {response.status_code} and nothing that can be read: try again shortly.",
            retry_after=2,
        )
    return TinyGPTError.from_detail(detail, retry_after=float(retry_after) if retry_after.isdecimal() else None)
