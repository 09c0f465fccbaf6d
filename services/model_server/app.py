"""The model server's HTTP side: `/generate` off the event loop, `/health`, `/livez`, `/readyz`, `/metrics`."""

import asyncio
import contextlib
import functools
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry, Counter, Gauge

from services.model_server.model_holder import Held, ModelHolder
from services.model_server.settings import ModelServerSettings
from tinygpt.contracts.errors import DeadlineExceeded, ErrorBody, QueueFull
from tinygpt.contracts.generation import GenerateRequest, GenerateResponse
from tinygpt.contracts.models import Liveness, ModelServerHealth
from tinygpt.runtime.metrics import HttpMetrics
from tinygpt.runtime.volume import Volume
from tinygpt.runtime.web import Heartbeat, equip, while_connected

_LONGEST_SECONDS = 600.0


class ModelServer:
    """The model, the threads that decode with it, and how many requests they hold."""

    def __init__(self, settings: ModelServerSettings, registry: CollectorRegistry) -> None:
        self.settings = settings
        self.models = ModelHolder(
            Volume(settings.home),
            follow_seconds=settings.model_server_follow_seconds,
            similarity_floor=settings.similarity_floor,
        )
        self.heartbeat = Heartbeat()
        self.started_at = time.monotonic()
        self.in_flight = 0
        self._threads = ThreadPoolExecutor(settings.model_server_decode_threads, thread_name_prefix="decode")
        self._answers = Counter("tinygpt_answers_total", "Answers by their source.", ["source"], registry=registry)
        self._tokens = Counter("tinygpt_generated_tokens_total", "Tokens decoded.", registry=registry)
        gauge = Gauge("tinygpt_model_server_in_flight", "Requests decoding or waiting.", registry=registry)
        gauge.set_function(lambda: self.in_flight)

    def close(self) -> None:
        self.models.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def generate(self, held: Held, request: GenerateRequest, seconds: float) -> GenerateResponse:
        """Decode in a thread; on a passed deadline or a cancelled task, the thread stops at its next token."""
        if self.in_flight >= self.settings.model_server_max_in_flight:
            raise QueueFull("The model server holds as many requests as it may: try again shortly.", retry_after=1)
        stop = threading.Event()
        work = functools.partial(held.generator.generate, request, stop.is_set)
        self.in_flight += 1
        try:
            async with asyncio.timeout(seconds):
                answer = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TimeoutError:
            raise DeadlineExceeded(f"No answer within {seconds:.1f} s: ask for fewer max_new_tokens.") from None
        finally:
            stop.set()
            self.in_flight -= 1
        self._answers.labels(answer.source).inc()
        self._tokens.inc(answer.usage.completion_tokens)
        return answer

    def health(self) -> ModelServerHealth:
        held = self.models.held
        return ModelServerHealth(
            status="ok" if held else "loading",
            reason=self.models.why_not(),
            model=held.info if held else None,
            uptime_seconds=round(time.monotonic() - self.started_at, 1),
            in_flight=self.in_flight,
        )


def _server(request: Request) -> ModelServer:
    server: ModelServer = request.app.state.server
    return server


Server = Annotated[ModelServer, Depends(_server)]


def create_app(settings: ModelServerSettings) -> FastAPI:
    """The app; it loads its model when its lifespan starts, in the background."""
    metrics = HttpMetrics(CollectorRegistry())
    server = ModelServer(settings, metrics.registry)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        server.models.start()
        async with server.heartbeat.beating():
            yield
        server.close()

    app = FastAPIOffline(title="TinyGPT model server", lifespan=lifespan, responses={"default": {"model": ErrorBody}})
    app.state.server = server
    equip(app, metrics.observe)
    app.include_router(metrics.router())

    @app.post("/generate", summary="Turn a prompt into Python code")
    async def generate(
        body: GenerateRequest,
        request: Request,
        server: Server,
        x_deadline_seconds: Annotated[float, Header(gt=0, description="Seconds left to answer in.")] = 60.0,
    ) -> GenerateResponse:
        held = server.models.require()
        seconds = min(x_deadline_seconds, _LONGEST_SECONDS)
        return await while_connected(request, server.generate(held, body, seconds))

    @app.get("/health", summary="Readiness, with the model's metadata", responses={503: {"model": ModelServerHealth}})
    def health(response: Response, server: Server) -> ModelServerHealth:
        health = server.health()
        response.status_code = 200 if health.model else 503
        return health

    @app.get("/readyz", summary="Would it serve now?")
    def readyz(server: Server) -> dict[str, str]:
        server.models.require()
        return {"status": "ok"}

    @app.get("/livez", summary="Does the process turn?")
    async def livez(response: Response, server: Server) -> Liveness:
        liveness = server.heartbeat.liveness()
        response.status_code = 200 if liveness.status == "ok" else 503
        return liveness

    return app
