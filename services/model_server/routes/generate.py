"""`POST /generate`: a whole answer, or server-sent events while the model writes."""

import contextlib
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request, Response

from services.model_server.context import ModelServer, Seconds, ServerDep
from tinygpt.contracts.generation import GenerateRequest, GenerateResponse
from tinygpt.http.deadline import while_connected
from tinygpt.http.endpoints import GENERATE
from tinygpt.http.request_id import random_id
from tinygpt.http.responses import json_response
from tinygpt.http.sse import EventStream, sse_event

router = APIRouter(tags=["generate"])


@router.post(**GENERATE)
async def generate(body: GenerateRequest, request: Request, server: ServerDep, seconds: Seconds) -> Response:
    answer_id = f"gen-{random_id()}"
    if body.stream:
        return EventStream(_events(server, body, answer_id), seconds=seconds)
    async with while_connected(request.receive, seconds):
        with server.models.in_use() as model:
            (answer,) = await server.answer(model, [body])
    answer.id = answer_id
    return json_response(answer)


async def _events(server: ModelServer, body: GenerateRequest, answer_id: str) -> AsyncGenerator[bytes, None]:
    with server.models.in_use() as model:
        async with contextlib.aclosing(server.stream(model, [body])) as stream:
            async for _, item in stream:
                item.id = answer_id
                yield sse_event(item.model_dump_json(), "answer" if isinstance(item, GenerateResponse) else "delta")
