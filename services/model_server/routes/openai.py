"""OpenAI's API: `/v1/models`, `/v1/completions`, `/v1/chat/completions`."""

import contextlib
from collections.abc import AsyncGenerator
from itertools import chain

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from services.model_server.context import ModelServer, Seconds, ServerDep
from services.model_server.openai import AnswerFormat, ChatFormat, CompletionFormat, total_usage
from tinygpt.contracts.errors import ModelNotFound
from tinygpt.contracts.generation import GenerateResponse, Usage
from tinygpt.contracts.models import LoadedModel
from tinygpt.contracts.openai import (
    ALIAS,
    ChatCompletion,
    ChatCompletionRequest,
    Completion,
    CompletionRequest,
    OpenAIModel,
    OpenAIModelList,
)
from tinygpt.runtime.sse import OR_STREAM, EventStream, sse_event
from tinygpt.runtime.web import json_response, while_connected

router = APIRouter(prefix="/v1", tags=["OpenAI"])

_DONE = sse_event("[DONE]")


@router.get("/models", summary="The model that is served, by its alias and its id")
def models(server: ServerDep) -> OpenAIModelList:
    served = server.models.require().info
    return OpenAIModelList(data=[_as_model(name, served) for name in (ALIAS, served.model_id)])


@router.get("/models/{model}", summary="One of them")
def model(model: str, server: ServerDep) -> OpenAIModel:
    served = server.models.require().info
    _require_named(served, model)
    return _as_model(model, served)


@router.post("/completions", summary="Turn prompts into Python code", response_model=Completion, responses=OR_STREAM)
async def completions(body: CompletionRequest, request: Request, server: ServerDep, seconds: Seconds) -> Response:
    return await _respond(body, CompletionFormat, request, server, seconds)


@router.post(
    "/chat/completions",
    summary="The last user message is the prompt",
    response_model=ChatCompletion,
    responses=OR_STREAM,
)
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
    with server.models.in_use() as held:
        _require_named(held.info, body.model)
        answers = await server.answer(held, body.as_generate_requests())
    choices = list(chain.from_iterable(answer.choices or [answer] for answer in answers))
    return format_(held.info, held.generator.tokenizer).whole(
        choices, total_usage([answer.usage for answer in answers])
    )


async def _events(
    server: ModelServer, body: CompletionRequest | ChatCompletionRequest, format_: type[AnswerFormat]
) -> AsyncGenerator[bytes, None]:
    """The chunks of every choice of every prompt: choice i of prompt p has the index `p * n + i`."""
    with server.models.in_use() as held:
        _require_named(held.info, body.model)
        requests = body.as_generate_requests()
        form = format_(held.info, held.generator.tokenizer)
        begun: set[int] = set()
        usages: list[Usage] = []
        async with contextlib.aclosing(server.stream(held, requests)) as pieces:
            async for prompt, piece in pieces:
                if isinstance(piece, GenerateResponse):
                    usages.append(piece.usage)
                    continue
                index = prompt * requests[0].n + piece.index
                if index not in begun and (opening := form.first(index)):
                    yield _chunk(opening)
                begun.add(index)
                if piece.text or piece.logprobs:
                    yield _chunk(form.piece(index, piece))
                if piece.finish_reason is not None:
                    yield _chunk(form.last(index, piece.finish_reason))
        if body.stream_options is not None and body.stream_options.include_usage:
            yield _chunk(form.usage(total_usage(usages)))
        yield _DONE


def _chunk(chunk: BaseModel) -> bytes:
    return sse_event(chunk.model_dump_json())


def _require_named(served: LoadedModel, name: str | None) -> None:
    if name not in (None, ALIAS, served.model_id):
        raise ModelNotFound(
            f"The model {name!r} is not served here: ask for {ALIAS!r} or {served.model_id!r}.", param="model"
        )


def _as_model(name: str, served: LoadedModel) -> OpenAIModel:
    return OpenAIModel(id=name, created=int(served.loaded_at))
