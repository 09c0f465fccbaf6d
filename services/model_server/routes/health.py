"""Probes: `/livez` (the process is alive), `/readyz` (it would serve now), `/health` (readiness, with the model)."""

from fastapi import APIRouter, Response

from services.model_server.context import ServerDep
from tinygpt.contracts.models import Liveness, ModelServerHealth
from tinygpt.http.endpoints import LIVEZ, READYZ, health_endpoint

router = APIRouter(tags=["operation"])


@router.get(**health_endpoint(ModelServerHealth))
def health(response: Response, server: ServerDep) -> ModelServerHealth:
    health = server.health()
    response.status_code = 200 if health.model else 503
    return health


@router.get(**READYZ)
def readyz(server: ServerDep) -> dict[str, str]:
    server.models.require()
    return {"status": "ok"}


@router.get(**LIVEZ)
async def livez(response: Response, server: ServerDep) -> Liveness:
    liveness = server.liveness()
    response.status_code = 200 if liveness.status == "ok" else 503
    return liveness
