"""Admission: how many requests are inside at once, how many wait for a place, and which are refused."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tinygpt.contracts.errors import DeadlineExceeded, QueueFull

_RETRY_AFTER_SECONDS = 1.0


class Admission:
    """At most `max_in_flight` requests inside and `max_queue` waiting, first come, first served."""

    def __init__(self, max_in_flight: int, max_queue: int) -> None:
        self.max_queue = max_queue
        self.in_flight = 0
        self.waiting = 0
        self._places = asyncio.Semaphore(max_in_flight)

    @contextlib.asynccontextmanager
    async def place(self, deadline: float) -> AsyncIterator[None]:
        """A place inside while the body runs.

        `deadline` is in the event loop's time. Raises `QueueFull` at once, or `DeadlineExceeded` after waiting.
        """
        if self._places.locked() and self.waiting >= self.max_queue:
            raise QueueFull(
                f"The queue is full ({self.max_queue} requests wait): try again shortly.",
                retry_after=_RETRY_AFTER_SECONDS,
            )
        self.waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._places.acquire()
        except TimeoutError:
            raise DeadlineExceeded(
                "The request waited for a place until its deadline passed: try again later."
            ) from None
        finally:
            self.waiting -= 1
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self._places.release()
