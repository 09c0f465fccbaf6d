"""Probes: `/livez` (the process is alive), `/readyz` (it would serve now), `/health` (readiness, with metadata)."""

import time

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from services.gateway.context import Gateway, GatewayDep
from tinygpt.contracts.errors import Draining, ModelLoading, NoModel, RedisUnavailable, UpstreamUnavailable
from tinygpt.contracts.models import GatewayHealth, Liveness, ModelServerHealth
from tinygpt.http.endpoints import LIVEZ, READYZ, health_endpoint
from tinygpt.runtime.queue import redis_errors

router = APIRouter(tags=["operation"])


@router.get(**LIVEZ)
async def livez(response: Response, gateway: GatewayDep) -> Liveness:
    liveness = gateway.heartbeat.liveness()
    response.status_code = 200 if liveness.status == "ok" else 503
    return liveness


@router.get(**READYZ)
async def readyz(gateway: GatewayDep) -> dict[str, str]:
    """200 if a `/generate` sent now would be answered, otherwise 503 with the reason and a `Retry-After`."""
    if gateway.draining.is_set():
        raise Draining("The gateway is stopping.", retry_after=5)
    servers = await gateway.model_servers.health()
    if not _serving(servers):
        reason = _why_not(servers)
        statuses = {server.status for server in servers.values() if server is not None}
        if "loading" in statuses:
            raise ModelLoading(f"Not ready: {reason}.", retry_after=2)
        if "no_model" in statuses:
            raise NoModel(f"Not ready: {reason}.", retry_after=5)
        raise UpstreamUnavailable(f"Not ready: {reason}.", retry_after=2)
    return {"status": "ok"}


@router.get(**health_endpoint(GatewayHealth))
async def health(response: Response, gateway: GatewayDep) -> GatewayHealth:
    servers = await gateway.model_servers.health()
    queued_runs = await run_in_threadpool(_queued_runs, gateway)
    serving = _serving(servers) and not gateway.draining.is_set()
    response.status_code = 200 if serving else 503
    reason = None
    if not serving:
        reason = "the gateway is stopping" if gateway.draining.is_set() else _why_not(servers)
    elif queued_runs is None:
        reason = "Redis can't be reached, so no run can be started or seen"
    return GatewayHealth(
        status="unavailable" if not serving else "ok" if queued_runs is not None else "degraded",
        reason=reason,
        redis="ok" if queued_runs is not None else "unavailable",
        model_servers=servers,
        in_flight=gateway.admission.in_flight,
        waiting=gateway.admission.waiting,
        queued_runs=queued_runs,
        uptime_seconds=round(time.monotonic() - gateway.started_at, 1),
    )


def _serving(servers: dict[str, ModelServerHealth | None]) -> bool:
    return any(health is not None and health.status == "ok" for health in servers.values())


def _why_not(servers: dict[str, ModelServerHealth | None]) -> str:
    reached = [health for health in servers.values() if health is not None]
    if not reached:
        return "no model server can be reached"
    loading = [health for health in reached if health.status == "loading"]
    return (loading or reached)[0].reason or "the model is loading"


def _queued_runs(gateway: Gateway) -> int | None:
    try:
        with redis_errors():
            return gateway.runs.active_count()
    except RedisUnavailable:
        return None
