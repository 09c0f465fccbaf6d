"""OpenAI's API: `/v1/models`, `/v1/completions`, `/v1/chat/completions`."""

from fastapi import APIRouter, Request, Response

from services.gateway.context import GatewayDep, requires
from services.gateway.forward import forward
from tinygpt.contracts.openai import (
    ChatCompletion,
    ChatCompletionRequest,
    Completion,
    CompletionRequest,
    OpenAIModel,
    OpenAIModelList,
)
from tinygpt.runtime.sse import OR_STREAM

router = APIRouter(prefix="/v1", tags=["OpenAI"], dependencies=[requires("generate")])


@router.get("/models", summary="The model that is served, by its alias and its id", response_model=OpenAIModelList)
async def models(request: Request, gateway: GatewayDep) -> Response:
    return await forward(gateway, request)


@router.get("/models/{model}", summary="One of them", response_model=OpenAIModel)
async def model(model: str, request: Request, gateway: GatewayDep) -> Response:  # noqa: ARG001
    return await forward(gateway, request)


@router.post("/completions", summary="Turn prompts into Python code", response_model=Completion, responses=OR_STREAM)
async def completions(body: CompletionRequest, request: Request, gateway: GatewayDep) -> Response:
    return await forward(gateway, request, stream=bool(body.stream))


@router.post(
    "/chat/completions",
    summary="The last user message is the prompt",
    response_model=ChatCompletion,
    responses=OR_STREAM,
)
async def chat(body: ChatCompletionRequest, request: Request, gateway: GatewayDep) -> Response:
    return await forward(gateway, request, stream=bool(body.stream))
