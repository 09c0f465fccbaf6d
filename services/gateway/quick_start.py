"""If the volume has no model: train the quick-start one, log its progress, and print how to ask it."""

import asyncio
import contextlib
from typing import Any

import structlog
import tenacity
from starlette.concurrency import run_in_threadpool

from services.gateway.context import Gateway
from services.gateway.routes.runs import run_events
from services.gateway.rows import stored_dataset
from tinygpt.contracts.errors import RedisUnavailable, TinyGPTError
from tinygpt.contracts.runs import RunEvent, RunRecord, RunState, TrainRequest
from tinygpt.runtime.queue import redis_errors

log = structlog.get_logger()

_SECONDS_BETWEEN_LINES = 2.0
_EXAMPLE = '{"prompt": "reverse the list nums"}'


async def quick_start(gateway: Gateway) -> None:
    """Runs beside the server from its start. A failure here is logged and never stops the server."""
    try:
        while await run_in_threadpool(gateway.volume.current) is None:
            run = await _run_to_follow(gateway)
            log.info("no model yet, so one is trained now", run_id=run.run_id, preset=run.request.preset)
            if not await _followed_to_success(gateway, run) and (run.origin == "quick-start" or _stopping(gateway)):
                return
        if not await _serving(gateway):
            return
        log.info("ready", url=gateway.settings.url, docs=f"{gateway.settings.url}/docs")
        key = " -H 'authorization: Bearer <your key>'" if gateway.settings.api_keys.get_secret_value() else ""
        curl = f"curl -s {gateway.settings.url}/generate{key} -H 'content-type: application/json' -d '{_EXAMPLE}'"
        print(f"Try it:\n  {curl}", flush=True)
    except TinyGPTError as error:
        log.error("the quick start failed", reason=error.message)
    except Exception:
        log.exception("the quick start met a bug")


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(RedisUnavailable),
    stop=tenacity.stop_after_delay(120),
    wait=tenacity.wait_fixed(0.5),
    reraise=True,
)
async def _run_to_follow(gateway: Gateway) -> RunRecord:
    return await run_in_threadpool(_find_or_create, gateway)


def _find_or_create(gateway: Gateway) -> RunRecord:
    """An active run that may give a model, or else a new one. Several gateways create only one, because the key is the
    same."""
    with redis_errors():
        active = [run for run in gateway.runs.active() if run.request.promote != "never"]
        if active:
            return active[0]
        request = TrainRequest(preset="quick-start")
        latest = gateway.runs.newest(1)
        record, _ = gateway.runs.create(
            request,
            stored_dataset(gateway.volume, request),
            origin="quick-start",
            idempotency_key=f"quick-start-after-{latest[0].run_id if latest else 'nothing'}",
        )
        return record


async def _followed_to_success(gateway: Gateway, run: RunRecord) -> bool:
    """Log the run's progress until it ends. Returns False if it did not succeed."""
    last_logged = -_SECONDS_BETWEEN_LINES
    after = "0"
    while not gateway.draining.is_set():
        with contextlib.suppress(RedisUnavailable):
            async for event in run_events(gateway, run.run_id, after=after):
                if event is None:
                    continue
                after = event.id
                now = asyncio.get_running_loop().time()
                if event.type == "state" or now - last_logged >= _SECONDS_BETWEEN_LINES:
                    last_logged = now
                    _log(event)
            with redis_errors():
                state = (await run_in_threadpool(gateway.runs.get, run.run_id)).state
            if state.is_final:
                return state is RunState.SUCCEEDED
        await asyncio.sleep(1.0)
    return False


def _log(event: RunEvent) -> None:
    data: dict[str, Any] = event.data
    if event.type == "state":
        if data["state"] == RunState.FAILED:
            log.error("training failed", reason=data["error"]["message"])
        else:
            log.info(f"training {data['state']}")
        return
    loss = data.get("validation_loss") or data.get("train_loss")
    log.info("training", step=data["step"], loss=loss, seconds_left=round(data.get("seconds_left") or 0))


async def _serving(gateway: Gateway) -> bool:
    """Wait until a model server has a model. Returns False if the gateway stops before."""
    while not _stopping(gateway):
        if any(health and health.status == "ok" for health in (await gateway.model_servers.health()).values()):
            return True
        await asyncio.sleep(0.5)
    return False


def _stopping(gateway: Gateway) -> bool:
    return gateway.draining.is_set()
