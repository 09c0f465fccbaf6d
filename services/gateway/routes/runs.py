"""`/train`: start, list, show, follow and cancel training runs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from services.gateway.context import Gateway, GatewayDep, requires
from services.gateway.rows import stored_dataset
from tinygpt.contracts.errors import QueueFull, RedisUnavailable
from tinygpt.contracts.runs import RunEvent, RunList, RunRecord, TrainRequest
from tinygpt.runtime.queue import redis_errors

router = APIRouter(tags=["train"])

_POLL_SECONDS = 0.5
_POLLS_BETWEEN_KEEP_ALIVES = 30


@router.post("/train", summary="Start a training run", status_code=202, dependencies=[requires("train")])
def start(
    body: TrainRequest,
    gateway: GatewayDep,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=128, description="A repeated POST with the same key returns the first run."),
    ] = None,
) -> RunRecord:
    """202 means that the run is recorded. From here on it survives any crash."""
    dataset_id = stored_dataset(gateway.volume, body)
    request = body.model_copy(update={"rows": None, "dataset": dataset_id if body.rows else body.dataset})
    with redis_errors():
        record, _ = gateway.runs.create(
            request, dataset_id, idempotency_key=idempotency_key, max_active=gateway.settings.max_queued_runs
        )
    return record


@router.get("/train", summary="The latest runs", dependencies=[requires("train")])
def newest(gateway: GatewayDep, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> RunList:
    with redis_errors():
        return RunList(runs=gateway.runs.newest(limit))


@router.get("/train/{run_id}", summary="One run", dependencies=[requires("train")])
def show(run_id: str, gateway: GatewayDep) -> RunRecord:
    with redis_errors():
        return gateway.runs.get(run_id)


@router.delete("/train/{run_id}", summary="Cancel a run", status_code=202, dependencies=[requires("train")])
def cancel(run_id: str, gateway: GatewayDep) -> RunRecord:
    """A queued run ends now; a running one saves its checkpoint and ends within a second or two."""
    with redis_errors():
        return gateway.runs.cancel(run_id)


async def _followed_run(run_id: str, gateway: GatewayDep) -> AsyncIterator[str]:
    """The id of a run that exists, with a place among the followers until the response has ended.

    A dependency, so that its errors come before the stream: `NotFound`, `QueueFull`.
    """
    with redis_errors():
        await run_in_threadpool(gateway.runs.get, run_id)
    if gateway.event_streams.locked():
        raise QueueFull("Too many clients follow runs: try again later, or poll GET /train/{id}.", retry_after=5)
    async with gateway.event_streams:
        yield run_id


@router.get(
    "/train/{run_id}/events",
    summary="Follow a run (server-sent events)",
    response_class=EventSourceResponse,
    dependencies=[requires("train")],
)
async def follow(
    run_id: Annotated[str, Depends(_followed_run)],
    gateway: GatewayDep,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d{1,19}(-\d{1,19})?$")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """All events, or those after `Last-Event-ID`. The stream ends with the run."""
    async for event in run_events(gateway, run_id, after=last_event_id or "0"):
        if event is None:
            yield ServerSentEvent(comment="keep-alive")
        else:
            yield ServerSentEvent(id=event.id, event=event.type, data=event)


async def run_events(gateway: Gateway, run_id: str, *, after: str) -> AsyncIterator[RunEvent | None]:
    """The run's events as they come, until it ends or the gateway stops. None every 15 s in which there is no event.

    If Redis is away, it waits for it.
    """
    quiet = 0
    while not gateway.draining.is_set():
        try:
            ended, events = await run_in_threadpool(_poll, gateway, run_id, after)
        except RedisUnavailable:
            ended, events = False, []
        for event in events:
            after = event.id
            yield event
        if ended:
            return
        quiet = 0 if events else quiet + 1
        if quiet and quiet % _POLLS_BETWEEN_KEEP_ALIVES == 0:
            yield None
        await asyncio.sleep(_POLL_SECONDS)


def _poll(gateway: Gateway, run_id: str, after: str) -> tuple[bool, list[RunEvent]]:
    """The events after `after`, and whether they are the last.

    The state is read first. Read after the events, it could be final although the last events were not read yet.
    """
    with redis_errors():
        ended = gateway.runs.get(run_id).state.is_final
        return ended, list(gateway.runs.events(run_id, after))
