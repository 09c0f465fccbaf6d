"""The model server's app: its parts put together, its lifespan, its routes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from services.model_server.context import ModelServer
from services.model_server.routes import explain, generate, health, openai
from services.model_server.settings import ModelServerSettings
from tinygpt.http.app import make_app
from tinygpt.http.metrics import HttpMetrics


def create_app(settings: ModelServerSettings) -> FastAPI:
    """The app. It loads its model in the background when its lifespan starts."""
    metrics = HttpMetrics(CollectorRegistry())
    server = ModelServer(settings, metrics.registry)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        server.models.start()
        async with server.heartbeat.beating():
            yield
        await asyncio.to_thread(server.models.stop)

    app = make_app(
        title="TinyGPT model server",
        lifespan=lifespan,
        routers=[routes.router for routes in (generate, openai, explain, health)],
        metrics=metrics,
    )
    app.state.server = server
    return app
