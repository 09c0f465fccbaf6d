"""`POST /generate` and `POST /explain`."""

from fastapi import APIRouter, Request, Response

from services.gateway.context import GatewayDep, requires
from services.gateway.forward import forward
from tinygpt.contracts.explain import ExplainRequest, Explanation
from tinygpt.contracts.generation import GenerateRequest, GenerateResponse
from tinygpt.runtime.sse import OR_STREAM

router = APIRouter(tags=["generate"], dependencies=[requires("generate")])


@router.post(
    "/generate", summary="Turn a prompt into Python code", response_model=GenerateResponse, responses=OR_STREAM
)
async def generate(body: GenerateRequest, request: Request, gateway: GatewayDep) -> Response:
    return await forward(gateway, request, stream=body.stream)


@router.post("/explain", summary="Every step of an answer: candidates, entropy, attention", response_model=Explanation)
async def explain(body: ExplainRequest, request: Request, gateway: GatewayDep) -> Response:  # noqa: ARG001
    return await forward(gateway, request)
