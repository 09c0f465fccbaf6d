"""What every endpoint works with, made once by `create_app` and handed in as a dependency."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated

from fastapi import Depends, Header, Request
from prometheus_client import CollectorRegistry

from services.model_server.metrics import DecodingMetrics
from services.model_server.model_holder import Held, ModelHolder
from services.model_server.settings import ModelServerSettings
from tinygpt.contracts.errors import QueueFull
from tinygpt.contracts.generation import GenerateDelta, GenerateRequest, GenerateResponse
from tinygpt.contracts.models import Liveness, ModelServerHealth
from tinygpt.http.deadline import DEADLINE_SECONDS
from tinygpt.http.heartbeat import Heartbeat

MOST_EXPLAINERS = 8
"""Requests to `/explain` at once: one under way, the others waiting."""
_MAX_SECONDS = 600.0


class ModelServer:
    """The models, and what is counted of them."""

    def __init__(self, settings: ModelServerSettings, registry: CollectorRegistry) -> None:
        self.metrics = DecodingMetrics(registry)
        self.models = ModelHolder(settings, self.metrics)
        self.heartbeat = Heartbeat()
        self._explaining = asyncio.Semaphore(1)
        self._explainers = 0
        self._started_at = time.monotonic()
        self.metrics.watch(
            running=lambda: self.models.running,
            waiting=lambda: self.models.waiting,
            slots=lambda: self.models.slots,
        )

    @contextlib.asynccontextmanager
    async def explaining(self) -> AsyncGenerator[None, None]:
        """The one place to explain an answer in, or a place in its queue. Raises `QueueFull`."""
        if self._explainers >= MOST_EXPLAINERS:
            raise QueueFull(f"{MOST_EXPLAINERS} requests are explained, one at a time: try again shortly.")
        self._explainers += 1
        try:
            async with self._explaining:
                yield
        finally:
            self._explainers -= 1

    async def answer(self, held: Held, requests: Sequence[GenerateRequest]) -> list[GenerateResponse]:
        """The requests are taken all or none. Raises `InvalidRequest`, `QueueFull`. A cancelled task frees its
        slots."""
        answers = await held.generator.answer_all(requests)
        for answer in answers:
            self.metrics.answered(answer)
        return answers

    async def stream(
        self, held: Held, requests: Sequence[GenerateRequest]
    ) -> AsyncGenerator[tuple[int, GenerateDelta | GenerateResponse], None]:
        """The pieces as they come, each with the number of its request, and each request's answer when it has ended.
        Raises what `answer` does before the first; `aclose` frees the slots."""
        async with contextlib.aclosing(held.generator.stream_all(requests)) as pieces:
            async for number, piece in pieces:
                if isinstance(piece, GenerateResponse):
                    self.metrics.answered(piece)
                yield number, piece

    def liveness(self) -> Liveness:
        """Whether the event loop turns, and the threads that load a model and decode are there."""
        liveness = self.heartbeat.liveness()
        return liveness if self.models.alive else liveness.model_copy(update={"status": "stalled"})

    def health(self) -> ModelServerHealth:
        held = self.models.held
        return ModelServerHealth(
            status="ok" if held else "no_model" if self.models.none_promoted else "loading",
            reason=self.models.why_not(),
            model=held.info if held else None,
            uptime_seconds=round(time.monotonic() - self._started_at, 1),
            running=self.models.running,
            waiting=self.models.waiting,
        )


async def _server(request: Request) -> ModelServer:
    server: ModelServer = request.app.state.server
    return server


async def _seconds(
    seconds: Annotated[float, Header(alias=DEADLINE_SECONDS, gt=0, description="Seconds left to answer in.")] = 60.0,
) -> float:
    return min(seconds, _MAX_SECONDS)


# Coroutines, though they wait for nothing: FastAPI calls a plain function in a thread.
ServerDep = Annotated[ModelServer, Depends(_server)]
Seconds = Annotated[float, Depends(_seconds)]
