"""A request's body as a file: a thread reads it while the event loop receives it. No copy of it is written."""

import io
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import BinaryIO, TypeVar

from anyio import CapacityLimiter, from_thread, to_thread

Result = TypeVar("Result")

_UPLOADS_AT_ONCE = 40
"""Each holds a thread for as long as its client sends. These threads are not the ones that other requests need."""
_uploads: CapacityLimiter | None = None


async def first_chunk(stream: AsyncIterator[bytes]) -> bytes:
    """The first chunk that is not empty; empty if the body is."""
    async for chunk in stream:
        if chunk:
            return chunk
    return b""


async def read_in_thread(first: bytes, stream: AsyncIterator[bytes], read: Callable[[BinaryIO], Result]) -> Result:
    """What `read` returns, called in a thread with the body: `first`, then the chunks of `stream`.

    What receiving a chunk raises (the client has gone, the body is too large) is raised by the file's `read` too.
    """
    global _uploads
    _uploads = _uploads or CapacityLimiter(_UPLOADS_AT_ONCE)
    with io.BufferedReader(_Body(first, stream), buffer_size=2**16) as file:
        return await to_thread.run_sync(partial(read, file), limiter=_uploads)


class _Body(io.RawIOBase):
    """To be read in a thread that `to_thread.run_sync` started."""

    def __init__(self, first: bytes, stream: AsyncIterator[bytes]) -> None:
        self._rest = memoryview(first)
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]", /) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = memoryview(from_thread.run(first_chunk, self._stream))
        part = self._rest[: len(buffer)]
        buffer[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)
