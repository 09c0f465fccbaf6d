"""Probes: `/livez` (the process turns), `/readyz` (would serve now), `/health` (readiness, with the model)."""

from fastapi import APIRouter, Response

from services.model_server.context import ServerDep
from tinygpt.contracts.models import Liveness, ModelServerHealth

router = APIRouter(tags=["operation"])


@router.get("/health", summary="Readiness, with the model's metadata", responses={503: {"model": ModelServerHealth}})
def health(response: Response, server: ServerDep) -> ModelServerHealth:
    health = server.health()
    response.status_code = 200 if health.model else 503
    return health


@router.get("/readyz", summary="Would it serve now?")
def readyz(server: ServerDep) -> dict[str, str]:
    server.models.require()
    return {"status": "ok"}


@router.get("/livez", summary="Does the process turn?")
async def livez(response: Response, server: ServerDep) -> Liveness:
    liveness = server.liveness()
    response.status_code = 200 if liveness.status == "ok" else 503
    return liveness
