"""The heartbeat of the event loop: ok while the loop runs, stalled once something blocks it."""

import asyncio
import time

from tinygpt.http.heartbeat import Heartbeat


def test_a_loop_that_runs_is_ok() -> None:
    async def scenario() -> None:
        heartbeat = Heartbeat(stalled_seconds=5.0)
        async with heartbeat.beating():
            await asyncio.sleep(0.05)
            liveness = heartbeat.liveness()
        assert liveness.status == "ok"
        assert liveness.last_step_seconds < 5.0

    asyncio.run(scenario())


def test_a_loop_that_is_blocked_is_stalled_until_it_runs_again() -> None:
    async def scenario() -> None:
        heartbeat = Heartbeat(stalled_seconds=0.2)
        async with heartbeat.beating():
            await asyncio.sleep(0)
            time.sleep(1.1)  # noqa: ASYNC251  (it is the point that this blocks the loop)
            stalled = heartbeat.liveness()
            await asyncio.sleep(0.05)
            again = heartbeat.liveness()
        assert stalled.status == "stalled"
        assert stalled.last_step_seconds >= 1.1
        assert again.status == "ok"

    asyncio.run(scenario())
