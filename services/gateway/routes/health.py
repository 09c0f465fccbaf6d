"""Probes: `/livez` (the process is alive), `/readyz` (it would serve now), `/health` (readiness, with metadata)."""

import time

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from services.gateway.context import Gateway, GatewayDep
from tinygpt.contracts.errors import (
    Draining,
    ModelLoading,
    NoModel,
    RedisUnavailable,
    Unavailable,
    UpstreamUnavailable,
)
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
    unready = _why_unready(gateway, await gateway.model_servers.health())
    if unready is not None:
        kind, reason = unready
        raise kind(f"Not ready: {reason}.", retry_after=2 if kind in (ModelLoading, UpstreamUnavailable) else 5)
    return {"status": "ok"}


@router.get(**health_endpoint(GatewayHealth))
async def health(response: Response, gateway: GatewayDep) -> GatewayHealth:
    servers = await gateway.model_servers.health()
    queued_runs = await run_in_threadpool(_queued_runs, gateway)
    unready = _why_unready(gateway, servers)
    redis_is_up = queued_runs is not None
    response.status_code = 503 if unready else 200
    reason = None
    if unready is not None:
        _, reason = unready
    elif not redis_is_up:
        reason = "Redis can't be reached, so no run can be started or seen"
    return GatewayHealth(
        status="unavailable" if unready else "ok" if redis_is_up else "degraded",
        reason=reason,
        redis="ok" if redis_is_up else "unavailable",
        model_servers=servers,
        in_flight=gateway.admission.in_flight,
        waiting=gateway.admission.waiting,
        queued_runs=queued_runs,
        uptime_seconds=round(time.monotonic() - gateway.started_at, 1),
    )


def _why_unready(
    gateway: Gateway, servers: dict[str, ModelServerHealth | None]
) -> tuple[type[Unavailable], str] | None:
    """The error and the reason why a `/generate` sent now would not be answered; None if it would."""
    if gateway.draining.is_set():
        return Draining, "the gateway is stopping"
    reached = [server for server in servers.values() if server is not None]
    if not reached:
        return UpstreamUnavailable, "no model server can be reached"
    if any(server.status == "ok" for server in reached):
        return None
    for server in reached:
        if server.status == "loading":
            return ModelLoading, server.reason or "the model is loading"
    return NoModel, reached[0].reason or "no model has been promoted yet"


def _queued_runs(gateway: Gateway) -> int | None:
    try:
        with redis_errors():
            return gateway.runs.active_count()
    except RedisUnavailable:
        return None
