"""The model server's app: its parts put together, its lifespan, its routes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry

from services.model_server.context import ModelServer
from services.model_server.routes import explain, generate, health, openai
from services.model_server.settings import ModelServerSettings
from tinygpt.contracts.errors import ErrorBody
from tinygpt.runtime.metrics import HttpMetrics
from tinygpt.runtime.web import equip


def create_app(settings: ModelServerSettings) -> FastAPI:
    """The app; it loads its model when its lifespan starts, in the background."""
    metrics = HttpMetrics(CollectorRegistry())
    server = ModelServer(settings, metrics.registry)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        server.models.start()
        async with server.heartbeat.beating():
            yield
        await asyncio.to_thread(server.models.stop)

    app = FastAPIOffline(
        title="TinyGPT model server",
        lifespan=lifespan,
        responses={"default": {"model": ErrorBody, "description": "What went wrong, in one sentence."}},
    )
    app.state.server = server
    equip(app, metrics.observe)
    for routes in (generate, openai, explain, health):
        app.include_router(routes.router)
    app.include_router(metrics.router())
    return app
