"""The gateway's app: its parts put together, its lifespan, its routes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Gauge

from services.gateway.access import Access
from services.gateway.context import Gateway
from services.gateway.quick_start import quick_start
from services.gateway.routes import datasets, generate, health, models, openai, runs
from services.gateway.settings import GatewaySettings
from services.gateway.upstreams import ModelServers
from tinygpt.http.admission import Admission
from tinygpt.http.app import make_app
from tinygpt.http.body_limit import BodyLimit
from tinygpt.http.metrics import HttpMetrics
from tinygpt.runtime.queue import connect, training_queue
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.volume import Volume


def create_app(settings: GatewaySettings, *, transport: httpx.AsyncBaseTransport | None = None) -> FastAPI:
    """The app. `transport` replaces the way to the model servers. Raises `ValueError` for unusable settings."""
    metrics = HttpMetrics(CollectorRegistry())
    gateway = Gateway(
        settings=settings,
        volume=Volume(settings.home),
        runs=RunStore(connect(settings), training_queue(connect(settings, decode_responses=False))),
        access=Access(settings.api_keys.get_secret_value(), settings.rate_limit),
        admission=Admission(settings.max_in_flight, settings.max_queue),
        model_servers=ModelServers(settings.model_server_urls, transport),
        event_streams=asyncio.Semaphore(settings.max_event_streams),
    )
    _measure(gateway, metrics.registry)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with gateway.heartbeat.beating():
            starting = asyncio.create_task(quick_start(gateway)) if settings.quick_start else None
            yield
            if starting is not None:
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
            await gateway.model_servers.close()

    uploads = BodyLimit(settings.max_upload_mb, "TINYGPT_MAX_UPLOAD_MB")
    app = make_app(
        title="TinyGPT",
        summary="Train a small GPT on your own rows, and turn prompts into Python code.",
        lifespan=lifespan,
        routers=[routes.router for routes in (generate, openai, runs, datasets, models, health)],
        metrics=metrics,
        body_limits={"/datasets": uploads, "/train": uploads},
    )
    app.state.gateway = gateway
    return app


def _measure(gateway: Gateway, registry: CollectorRegistry) -> None:
    in_flight = Gauge("tinygpt_gateway_in_flight", "Requests at the model servers.", registry=registry)
    in_flight.set_function(lambda: gateway.admission.in_flight)
    waiting = Gauge("tinygpt_gateway_waiting", "Requests waiting for a place.", registry=registry)
    waiting.set_function(lambda: gateway.admission.waiting)
