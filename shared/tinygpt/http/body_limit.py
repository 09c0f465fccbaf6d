"""Limits on the size of request bodies, by path."""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tinygpt.contracts.errors import TooLarge
from tinygpt.http.responses import error_response

_MAX_DISCARDED_LIMITS = 4


@dataclass(frozen=True)
class BodyLimit:
    """The largest body of a request in megabytes, and the setting that raises it, if there is one."""

    max_mb: float = 1.0
    setting: str | None = None

    @property
    def max_bytes(self) -> int:
        return int(self.max_mb * 1e6)

    def too_large(self) -> TooLarge:
        raise_it = f", or raise {self.setting}" if self.setting else ""
        return TooLarge(f"The body is larger than {self.max_mb:g} MB: send less{raise_it}.", param="body")


class BodyLimitMiddleware:
    """Refuses larger bodies: at once if the client declares the size, otherwise when the limit is passed.

    Starlette's own limit answers in plain text. This one answers in the shape that all errors have.
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
                await _discard(receive, _MAX_DISCARDED_LIMITS * limit.max_bytes)
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


async def _discard(receive: Receive, max_bytes: int) -> None:
    """Read and drop the body, so that a client which sends all of it before it listens still sees the answer."""
    while max_bytes > 0:
        message = await receive()
        max_bytes -= len(message.get("body", b""))
        if not message.get("more_body"):
            return
