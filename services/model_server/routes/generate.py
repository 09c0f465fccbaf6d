"""`POST /generate`: whole, or as server-sent events while the model writes."""

import contextlib
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request, Response

from services.model_server.context import ModelServer, Seconds, ServerDep
from tinygpt.contracts.generation import GenerateRequest, GenerateResponse
from tinygpt.runtime.sse import OR_STREAM, EventStream, sse_event
from tinygpt.runtime.web import json_response, random_id, while_connected

router = APIRouter(tags=["generate"])


@router.post(
    "/generate", summary="Turn a prompt into Python code", response_model=GenerateResponse, responses=OR_STREAM
)
async def generate(body: GenerateRequest, request: Request, server: ServerDep, seconds: Seconds) -> Response:
    answer_id = f"gen-{random_id()}"
    if body.stream:
        return EventStream(_events(server, body, answer_id), seconds=seconds)
    async with while_connected(request.receive, seconds):
        with server.models.in_use() as held:
            (answer,) = await server.answer(held, [body])
    answer.id = answer_id
    return json_response(answer)


async def _events(server: ModelServer, body: GenerateRequest, answer_id: str) -> AsyncGenerator[bytes, None]:
    with server.models.in_use() as held:
        async with contextlib.aclosing(server.stream(held, [body])) as pieces:
            async for _, piece in pieces:
                piece.id = answer_id
                yield sse_event(piece.model_dump_json(), "answer" if isinstance(piece, GenerateResponse) else "delta")
