"""What both HTTP services share: request ids, one shape for every error, and a server that says why it can't start."""

import asyncio
import contextlib
import random
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import FrameType

import structlog
import uvicorn
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import EventDict, WrappedLogger

from tinygpt.contracts.errors import (
    ClientGone,
    DeadlineExceeded,
    ErrorBody,
    InvalidRequest,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    TinyGPTError,
    TooLarge,
    Unauthenticated,
    UnsupportedMediaType,
)
from tinygpt.contracts.models import Liveness

REQUEST_ID = "X-Request-Id"
_DISCARDED_LIMITS = 4
_QUIET_PATHS = {"/livez", "/readyz", "/health", "/metrics"}

log = structlog.get_logger()


def add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A log processor: the id of the request under way."""
    request_id = correlation_id.get()
    if request_id is not None:
        event.setdefault("request_id", request_id)
    return event


def random_id() -> str:
    """32 hexadecimal digits that name a request, and protect nothing: the system's own random numbers cost more."""
    return f"{random.getrandbits(128):032x}"


@dataclass(frozen=True)
class BodyLimit:
    """The most megabytes that a request's body may have, and the setting that raises it, where one does."""

    max_mb: float = 1.0
    setting: str | None = None

    @property
    def max_bytes(self) -> int:
        return int(self.max_mb * 1e6)

    def too_large(self) -> TooLarge:
        raise_it = f", or raise {self.setting}" if self.setting else ""
        return TooLarge(f"The body is larger than {self.max_mb:g} MB: send less{raise_it}.", param="body")


def equip(
    app: FastAPI,
    observe: Callable[[str, str, int, float], None],
    *,
    body_limits: Mapping[str, BodyLimit] | None = None,
) -> None:
    """Give `app` request ids, an access log, limits on bodies and the error responses.

    `observe(method, route, status, seconds)` is called after each request. `body_limits` are by path; all others have
    the default one.
    """
    app.add_middleware(_LimitedBodies, limits=body_limits or {})
    app.add_middleware(_AccessLog, observe=observe)
    app.add_middleware(
        CorrelationIdMiddleware,
        header_name=REQUEST_ID,
        generator=random_id,
        validator=lambda value: len(value) <= 128 and value.isprintable() and value.isascii(),
    )
    app.add_exception_handler(TinyGPTError, _on_own_error)
    app.add_exception_handler(ClientDisconnect, _on_client_gone)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_bug)


def json_response(model: BaseModel) -> Response:
    """`model` as it is: FastAPI would validate and copy it before it wrote the same."""
    return Response(model.model_dump_json(), media_type="application/json")


def error_response(error: TinyGPTError, *, status: int | None = None) -> JSONResponse:
    """The response that every error becomes, with its own status unless told otherwise."""
    headers = {"Retry-After": str(max(1, round(error.retry_after)))} if error.retry_after is not None else {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 11.6.1
    body = error_body(error).model_dump(mode="json")
    return JSONResponse({**body, **error.extra}, status_code=status or error.status, headers=headers)


def error_body(error: TinyGPTError) -> ErrorBody:
    """What says the error to a client, with the id of the request under way."""
    return ErrorBody(error=error.detail(correlation_id.get()))


def own_error(error: Exception) -> TinyGPTError:
    """The error itself, where it is one of the tree; else it is a bug: it is logged, and what a client hears of it."""
    if isinstance(error, TinyGPTError):
        return error
    log.error("bug", exc_info=error)
    return TinyGPTError("The server met a bug; its log has the trace under this request's id.")


@contextlib.asynccontextmanager
async def while_connected(receive: Receive, seconds: float) -> AsyncIterator[None]:
    """Cancels its body when the client goes away or the time is up: raises `ClientGone` or `DeadlineExceeded`.

    The request's body must have been read already.
    """
    loop = asyncio.get_running_loop()
    client_is_gone = False

    async def cancel_when_gone() -> None:
        nonlocal client_is_gone
        while (await receive())["type"] != "http.disconnect":
            pass
        client_is_gone = True
        limit.reschedule(loop.time())

    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            watching = loop.create_task(cancel_when_gone())
            try:
                yield
            finally:
                watching.cancel()
    except TimeoutError:
        if client_is_gone:
            raise ClientGone("The client closed its connection before the answer was ready.") from None
        if limit.expired():
            raise DeadlineExceeded(f"No answer within {seconds:.1f} s: ask for fewer max_new_tokens.") from None
        raise


class Heartbeat:
    """The age of the event loop's last turn: what `/livez` tells."""

    def __init__(self, stalled_seconds: float = 10.0) -> None:
        self._stalled_seconds = stalled_seconds
        self._last = time.monotonic()

    @contextlib.asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beats once a second for as long as the body runs."""

        async def beat() -> None:
            while True:
                self._last = time.monotonic()
                await asyncio.sleep(1.0)

        task = asyncio.create_task(beat())
        try:
            yield
        finally:
            task.cancel()

    def liveness(self) -> Liveness:
        age = time.monotonic() - self._last
        return Liveness(status="ok" if age < self._stalled_seconds else "stalled", last_step_seconds=round(age, 3))


def serve(
    app: FastAPI,
    *,
    host: str,
    port: int,
    port_setting: str,
    drain_seconds: int,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then call `on_stop` and let requests under way finish within `drain_seconds`."""

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            on_stop()
            super().handle_exit(sig, frame)

    with bind_or_exit(host, port, port_setting) as listener:
        config = uvicorn.Config(
            app, log_config=None, access_log=False, timeout_graceful_shutdown=drain_seconds, server_header=False
        )
        Server(config).run(sockets=[listener])


def bind_or_exit(host: str, port: int, port_setting: str) -> socket.socket:
    """A bound socket; where the port is taken, one sentence that says what to do, and exit 1."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    if sys.platform != "win32":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # two may bind before either listens, only one can listen
    except OSError as error:
        listener.close()
        sys.exit(
            f"Can't listen on {host}:{port} ({error.strerror}): stop the program that uses the port, "
            f"or set {port_setting} to another."
        )
    return listener


class _AccessLog:
    """Logs and measures each request. Pure ASGI, so that it never buffers a stream."""

    def __init__(self, app: ASGIApp, observe: Callable[[str, str, int, float], None]) -> None:
        self.app = app
        self.observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, note_status)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            self.observe(scope["method"], route, status, seconds)
            quiet = scope["path"] in _QUIET_PATHS
            (log.debug if quiet else log.info)(
                "request", method=scope["method"], path=scope["path"], status=status, seconds=round(seconds, 4)
            )


class _LimitedBodies:
    """Refuses bodies over a size: at once where the client declares it, else when the limit is passed.

    (Starlette's own limit answers in plain text, not in the one shape of every error.)
    """

    def __init__(self, app: ASGIApp, limits: Mapping[str, BodyLimit]) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limits.get(scope["path"], BodyLimit())
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit.max_bytes:
            if headers.get("expect", "").lower() != "100-continue":
                await _discard(receive, _DISCARDED_LIMITS * limit.max_bytes)
            await error_response(limit.too_large())(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit.max_bytes:
                raise limit.too_large()
            return message

        await self.app(scope, counted, send)


async def _discard(receive: Receive, most: int) -> None:
    """Read so many bytes at most, so that a client which sends before it listens still hears the answer."""
    while most > 0:
        message = await receive()
        most -= len(message.get("body", b""))
        if not message.get("more_body"):
            return


async def _on_own_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TinyGPTError)
    return error_response(error, status=_status(request, error))


def _status(request: Request, error: TinyGPTError) -> int:
    """The error's own, but for 422 under `/v1`: OpenAI's API has 400 in its place, which its clients look for."""
    return 400 if error.status == 422 and request.url.path.startswith("/v1/") else error.status


async def _on_client_gone(_request: Request, _error: Exception) -> JSONResponse:
    return error_response(ClientGone("The client closed its connection before its request was read."))


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["loc"] == ("body",) and isinstance(error.body, bytes):  # it was not read as JSON
        message = "The body is read as JSON only: send it with the header `Content-Type: application/json`."
        return error_response(UnsupportedMediaType(message, param="Content-Type"))
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "it can't be parsed")
        return error_response(MalformedRequest(f"The body is not JSON: {reason}."))
    where = [str(part) for part in first["loc"]]
    if where[0] == "body" and len(where) > 1:
        where = where[1:]
    field = ".".join(where)
    reason = first["msg"].removeprefix("Value error, ")
    more = f" ({len(error.errors()) - 1} more fields are invalid too)" if len(error.errors()) > 1 else ""
    message = f"{field}: {reason[:1].lower()}{reason[1:]}{_shown(first.get('input'))}{more}."
    invalid = InvalidRequest(message, param=field)
    return error_response(invalid, status=_status(request, invalid))


def _shown(value: object) -> str:
    """The value at fault, where it is short enough to help."""
    return (
        f", not {value!r}"
        if isinstance(value, int | float | bool) or (isinstance(value, str) and len(value) < 40)
        else ""
    )


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, TinyGPTError):
        return error_response(error.__cause__)
    asked = f"{request.method} {request.url.path}"
    match error.status_code:
        case 404:
            return error_response(NotFound(f"There is no {asked}: /docs lists what there is."))
        case 405:
            return error_response(MethodNotAllowed(f"{asked} is not possible: /docs lists what is."))
        case status if 400 <= status < 500:
            return error_response(MalformedRequest(f"{error.detail}."))
        case _:
            return error_response(TinyGPTError(str(error.detail)))


async def _on_bug(_request: Request, error: Exception) -> JSONResponse:
    response = error_response(own_error(error))
    response.headers[REQUEST_ID] = correlation_id.get() or ""
    return response
