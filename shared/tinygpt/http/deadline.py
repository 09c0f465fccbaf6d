"""Deadlines and disconnects: a request that nobody waits for any more is cancelled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.types import Receive

from tinygpt.contracts.errors import ClientGone, DeadlineExceeded

DEADLINE_SECONDS = "X-Deadline-Seconds"
"""The header with which the gateway says how many seconds are left."""


@contextlib.asynccontextmanager
async def while_connected(receive: Receive, seconds: float) -> AsyncIterator[None]:
    """Cancels its body when the client disconnects or the time is up: raises `ClientGone` or `DeadlineExceeded`.

    The request's body must have been read already, because this reads `receive` for the disconnect.
    """
    loop = asyncio.get_running_loop()
    client_is_gone = False

    async def cancel_on_disconnect() -> None:
        nonlocal client_is_gone
        while (await receive())["type"] != "http.disconnect":
            pass
        client_is_gone = True
        limit.reschedule(loop.time())

    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            watching = loop.create_task(cancel_on_disconnect())
            try:
                yield
            finally:
                watching.cancel()
    except TimeoutError:
        if client_is_gone:
            raise ClientGone("The client closed its connection before the answer was ready.") from None
        if limit.expired():
            raise DeadlineExceeded(f"No answer within {seconds:.1f} s: ask for fewer max_new_tokens.") from None
        raise
