"""`POST /generate`: admitted, given a deadline, forwarded."""

import asyncio

from asgi_correlation_id import correlation_id
from fastapi import APIRouter, Request

from services.gateway.context import Gateway, GatewayDep, requires
from tinygpt.contracts.generation import GenerateRequest, GenerateResponse
from tinygpt.runtime.web import while_connected

router = APIRouter(tags=["generate"])


@router.post("/generate", summary="Turn a prompt into Python code", dependencies=[requires("generate")])
async def generate(body: GenerateRequest, request: Request, gateway: GatewayDep) -> GenerateResponse:
    return await while_connected(request, _forward(gateway, body))


async def _forward(gateway: Gateway, body: GenerateRequest) -> GenerateResponse:
    deadline = asyncio.get_running_loop().time() + gateway.settings.request_timeout
    async with gateway.admission.place(deadline):
        return await gateway.model_servers.generate(body, deadline=deadline, request_id=correlation_id.get())
