"""The access log: one log line and one measurement per request."""

import time
from collections.abc import Callable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_QUIET_PATHS = {"/livez", "/readyz", "/health", "/metrics"}
"""Logged at debug level, because monitoring asks for them every few seconds."""

log = structlog.get_logger()


class AccessLogMiddleware:
    """Logs each request and calls `observe(method, route, status, seconds)`. Pure ASGI, so it never buffers a stream.

    `route` is the path's template (`/train/{run_id}`), so that metrics have a bounded number of labels.
    """

    def __init__(self, app: ASGIApp, observe: Callable[[str, str, int, float], None]) -> None:
        self.app = app
        self.observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def record_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, record_status)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            self.observe(scope["method"], route, status, seconds)
            quiet = scope["path"] in _QUIET_PATHS
            (log.debug if quiet else log.info)(
                "request", method=scope["method"], path=scope["path"], status=status, seconds=round(seconds, 4)
            )
