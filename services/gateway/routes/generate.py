"""`POST /generate` and `POST /explain`."""

from fastapi import APIRouter, Request, Response

from services.gateway.context import GatewayDep, requires
from services.gateway.forward import forward
from tinygpt.contracts.explain import ExplainRequest
from tinygpt.contracts.generation import GenerateRequest
from tinygpt.http.endpoints import EXPLAIN, GENERATE

router = APIRouter(tags=["generate"], dependencies=[requires("generate")])


@router.post(**GENERATE)
async def generate(body: GenerateRequest, request: Request, gateway: GatewayDep) -> Response:
    return await forward(gateway, request, stream=body.stream)


@router.post(**EXPLAIN)
async def explain(body: ExplainRequest, request: Request, gateway: GatewayDep) -> Response:  # noqa: ARG001
    return await forward(gateway, request)
