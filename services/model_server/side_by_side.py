"""Several streams read at once."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import TypeVar

T = TypeVar("T")


async def side_by_side(streams: Sequence[AsyncGenerator[T, None]]) -> AsyncGenerator[tuple[int, T], None]:
    """What the streams give, as it comes, each item with the number of its stream.

    The first exception ends them all, and so does `aclose`.
    """
    arrived: asyncio.Queue[tuple[int, T] | Exception | None] = asyncio.Queue()

    async def read(number: int, stream: AsyncGenerator[T, None]) -> None:
        try:
            async with contextlib.aclosing(stream):
                async for item in stream:
                    arrived.put_nowait((number, item))
        except Exception as error:  # noqa: BLE001  (whatever it is, the reader gets it)
            arrived.put_nowait(error)
        else:
            arrived.put_nowait(None)

    tasks = [asyncio.create_task(read(number, stream)) for number, stream in enumerate(streams)]
    under_way = len(tasks)
    try:
        while under_way:
            arrival = await arrived.get()
            if isinstance(arrival, Exception):
                raise arrival
            if arrival is None:
                under_way -= 1
            else:
                yield arrival
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
