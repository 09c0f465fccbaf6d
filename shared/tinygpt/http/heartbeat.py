"""The heartbeat of the event loop, which `/livez` reports."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from tinygpt.contracts.models import Liveness

_BEAT_SECONDS = 1.0


class Heartbeat:
    """Measures how long ago the event loop last ran its tasks."""

    def __init__(self, stalled_seconds: float = 10.0) -> None:
        self._stalled_seconds = stalled_seconds
        self._last = time.monotonic()

    @contextlib.asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beats once a second while the body runs."""

        async def beat() -> None:
            while True:
                self._last = time.monotonic()
                await asyncio.sleep(_BEAT_SECONDS)

        task = asyncio.create_task(beat())
        try:
            yield
        finally:
            task.cancel()

    def liveness(self) -> Liveness:
        age = time.monotonic() - self._last
        return Liveness(status="ok" if age < self._stalled_seconds else "stalled", last_step_seconds=round(age, 3))
