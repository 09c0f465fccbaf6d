"""OpenAI's API: `/v1/models`, `/v1/completions`, `/v1/chat/completions`."""

import contextlib
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from services.model_server.context import ModelServer, Seconds, ServerDep
from tinygpt.http.deadline import while_connected
from tinygpt.http.responses import json_response
from tinygpt.http.sse import EventStream
from tinygpt.openai.endpoints import CHAT_COMPLETIONS, COMPLETIONS, MODEL, MODELS, PREFIX
from tinygpt.openai.formats import AnswerFormat, ChatFormat, CompletionFormat
from tinygpt.openai.models import OpenAIModel, OpenAIModelList, find_model, list_models, require_served
from tinygpt.openai.requests import ChatCompletionRequest, CompletionRequest
from tinygpt.openai.streams import chunk_events

router = APIRouter(prefix=PREFIX, tags=["OpenAI"])


@router.get(**MODELS)
def models(server: ServerDep) -> OpenAIModelList:
    return list_models(server.models.require().info)


@router.get(**MODEL)
def model(model: str, server: ServerDep) -> OpenAIModel:
    return find_model(model, server.models.require().info)


@router.post(**COMPLETIONS)
async def completions(body: CompletionRequest, request: Request, server: ServerDep, seconds: Seconds) -> Response:
    return await _respond(body, CompletionFormat, request, server, seconds)


@router.post(**CHAT_COMPLETIONS)
async def chat(body: ChatCompletionRequest, request: Request, server: ServerDep, seconds: Seconds) -> Response:
    return await _respond(body, ChatFormat, request, server, seconds)


async def _respond(
    body: CompletionRequest | ChatCompletionRequest,
    format_: type[AnswerFormat],
    request: Request,
    server: ModelServer,
    seconds: float,
) -> Response:
    if body.stream:
        return EventStream(_events(server, body, format_), seconds=seconds)
    async with while_connected(request.receive, seconds):
        return json_response(await _answer(server, body, format_))


async def _answer(
    server: ModelServer, body: CompletionRequest | ChatCompletionRequest, format_: type[AnswerFormat]
) -> BaseModel:
    with server.models.in_use() as model:
        require_served(body.model, model.info)
        answers = await server.answer(model, body.as_generate_requests())
    return format_(model.info, model.generator.tokenizer).whole(answers)


async def _events(
    server: ModelServer, body: CompletionRequest | ChatCompletionRequest, format_: type[AnswerFormat]
) -> AsyncGenerator[bytes, None]:
    with server.models.in_use() as model:
        require_served(body.model, model.info)
        requests = body.as_generate_requests()
        form = format_(model.info, model.generator.tokenizer)
        async with (
            contextlib.aclosing(server.stream(model, requests)) as stream,
            contextlib.aclosing(
                chunk_events(stream, form, n=requests[0].n, include_usage=body.include_usage)
            ) as events,
        ):
            async for event in events:
                yield event
