"""The FastAPI app of a service: request ids, access log, limits on bodies, error responses, offline `/docs`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware import Middleware

from tinygpt.contracts.errors import ErrorBody
from tinygpt.http.access_log import AccessLogMiddleware
from tinygpt.http.body_limit import BodyLimit, BodyLimitMiddleware
from tinygpt.http.error_handlers import EXCEPTION_HANDLERS
from tinygpt.http.metrics import HttpMetrics
from tinygpt.http.request_id import REQUEST_ID, is_request_id, random_id


def make_app(
    *,
    title: str,
    summary: str | None = None,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    routers: Sequence[APIRouter],
    metrics: HttpMetrics,
    body_limits: Mapping[str, BodyLimit] | None = None,
) -> FastAPI:
    """An app with `routers`, `/metrics` and `/docs`.

    `body_limits` are by path. A path without one has the default `BodyLimit`.
    """
    app = FastAPIOffline(
        title=title,
        summary=summary,
        lifespan=lifespan,
        responses={"default": {"model": ErrorBody, "description": "What went wrong, in one sentence."}},
        middleware=[  # the outermost first
            Middleware(CorrelationIdMiddleware, header_name=REQUEST_ID, generator=random_id, validator=is_request_id),
            Middleware(AccessLogMiddleware, observe=metrics.observe),
            Middleware(BodyLimitMiddleware, limits=body_limits or {}),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
    )
    for router in (*routers, metrics.router()):
        app.include_router(router)
    return app
