"""What every endpoint works with. `create_app` makes it once, and FastAPI hands it in as a dependency."""

import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated

from fastapi import Depends, Header, Request
from prometheus_client import CollectorRegistry

from services.model_server.metrics import DecodingMetrics
from services.model_server.model_holder import ModelHolder
from services.model_server.model_loading import ServedModel
from services.model_server.settings import ModelServerSettings
from tinygpt.contracts.generation import GenerateDelta, GenerateRequest, GenerateResponse
from tinygpt.contracts.models import Liveness, ModelServerHealth
from tinygpt.http.admission import Admission
from tinygpt.http.deadline import DEADLINE_SECONDS
from tinygpt.http.heartbeat import Heartbeat

MAX_WAITING_EXPLANATIONS = 7
"""Besides the one that is made."""
_MAX_SECONDS = 600.0


class ModelServer:
    """The models with their metrics, and the queue of explanations."""

    def __init__(self, settings: ModelServerSettings, registry: CollectorRegistry) -> None:
        self.metrics = DecodingMetrics(registry)
        self.models = ModelHolder(settings, self.metrics)
        self.heartbeat = Heartbeat()
        self.explanations = Admission(max_in_flight=1, max_queue=MAX_WAITING_EXPLANATIONS)
        self._started_at = time.monotonic()
        self.metrics.watch(
            running=lambda: self.models.running,
            waiting=lambda: self.models.waiting,
            slots=lambda: self.models.slots,
        )

    async def answer(self, model: ServedModel, requests: Sequence[GenerateRequest]) -> list[GenerateResponse]:
        """Take all requests or none. Raises `InvalidRequest`, `QueueFull`. Cancelling the task frees the slots."""
        answers = await model.generator.answer_all(requests)
        for answer in answers:
            self.metrics.answered(answer)
        return answers

    async def stream(
        self, model: ServedModel, requests: Sequence[GenerateRequest]
    ) -> AsyncGenerator[tuple[int, GenerateDelta | GenerateResponse], None]:
        """Deltas as they come, and each request's answer when it has ended, with the number of the request.

        Raises what `answer` does before the first item. `aclose` frees the slots.
        """
        async with contextlib.aclosing(model.generator.stream_all(requests)) as stream:
            async for number, item in stream:
                if isinstance(item, GenerateResponse):
                    self.metrics.answered(item)
                yield number, item

    def liveness(self) -> Liveness:
        """The event loop's, or `stalled` if the thread that loads models has ended."""
        liveness = self.heartbeat.liveness()
        return liveness if self.models.alive else liveness.model_copy(update={"status": "stalled"})

    def health(self) -> ModelServerHealth:
        model = self.models.served
        return ModelServerHealth(
            status="ok" if model else "no_model" if self.models.none_promoted else "loading",
            reason=self.models.reason,
            model=model.info if model else None,
            uptime_seconds=round(time.monotonic() - self._started_at, 1),
            running=self.models.running,
            waiting=self.models.waiting,
        )


async def _server(request: Request) -> ModelServer:
    server: ModelServer = request.app.state.server
    return server


async def _seconds(
    seconds: Annotated[
        float, Header(alias=DEADLINE_SECONDS.lower(), gt=0, description="Seconds left to answer in.")
    ] = 60.0,
) -> float:
    return min(seconds, _MAX_SECONDS)


# Coroutines although they await nothing, because FastAPI calls a plain function in a thread.
ServerDep = Annotated[ModelServer, Depends(_server)]
Seconds = Annotated[float, Depends(_seconds)]
