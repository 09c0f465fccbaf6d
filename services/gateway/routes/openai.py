"""OpenAI's API: `/v1/models`, `/v1/completions`, `/v1/chat/completions`."""

from fastapi import APIRouter, Request, Response

from services.gateway.context import GatewayDep, requires
from services.gateway.forward import forward
from tinygpt.openai.endpoints import CHAT_COMPLETIONS, COMPLETIONS, MODEL, MODELS, PREFIX
from tinygpt.openai.requests import ChatCompletionRequest, CompletionRequest

router = APIRouter(prefix=PREFIX, tags=["OpenAI"], dependencies=[requires("generate")])


@router.get(**MODELS)
async def models(request: Request, gateway: GatewayDep) -> Response:
    return await forward(gateway, request)


@router.get(**MODEL)
async def model(model: str, request: Request, gateway: GatewayDep) -> Response:  # noqa: ARG001
    return await forward(gateway, request)


@router.post(**COMPLETIONS)
async def completions(body: CompletionRequest, request: Request, gateway: GatewayDep) -> Response:
    return await forward(gateway, request, stream=bool(body.stream))


@router.post(**CHAT_COMPLETIONS)
async def chat(body: ChatCompletionRequest, request: Request, gateway: GatewayDep) -> Response:
    return await forward(gateway, request, stream=bool(body.stream))
