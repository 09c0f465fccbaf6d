"""Server-sent events (WHATWG HTML, 9.2): the format of an event, and a response that streams them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from tinygpt.contracts.errors import Draining, TinyGPTError
from tinygpt.http.deadline import while_connected
from tinygpt.http.error_handlers import as_tinygpt_error
from tinygpt.http.responses import error_body

KEEP_ALIVE = b": keep-alive\n\n"
"""A comment. Clients ignore it, and proxies see that the connection is alive."""
KEEP_ALIVE_SECONDS = 15.0


def sse_event(data: str, name: str | None = None) -> bytes:
    """One event. `data` is a single line, as JSON is."""
    return f"event: {name}\ndata: {data}\n\n".encode() if name else f"data: {data}\n\n".encode()


async def whole_events(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """The same bytes, cut between events. An event is yielded once it is whole; half an event at the end is dropped."""
    buffer = b""
    async for chunk in chunks:
        buffer += chunk
        end = buffer.rfind(b"\n\n") + 2
        if end >= 2:
            yield buffer[:end]
            buffer = buffer[end:]


class EventStream(StreamingResponse):
    """Sends each event as it comes. If the client disconnects or the deadline passes, closes `events`.

    The status line waits for the first event, or `KEEP_ALIVE_SECONDS`. If `events` raises before that, the response
    is an ordinary error response. If it raises later, the stream ends with an event `error`.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], *, seconds: float) -> None:
        super().__init__(events, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._events = events
        self._seconds = seconds
        self._started = False
        self._last_sent = 0.0

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        keeping_alive = asyncio.create_task(self._keep_alive(send))
        try:
            async with while_connected(receive, self._seconds), contextlib.aclosing(self._events):
                async for event in self._events:
                    await self._send(send, event)
        except asyncio.CancelledError:  # the server has stopped draining
            if self._started:
                await self._send_last(send, Draining("The server stops before the answer was whole: ask again."))
            raise
        except Exception as error:
            if not self._started:
                raise
            await self._send_last(send, as_tinygpt_error(error))
            return
        finally:
            keeping_alive.cancel()
        await self._send(send, b"", more=False)

    async def _keep_alive(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        self._last_sent = loop.time()
        while True:
            await asyncio.sleep(self._last_sent + KEEP_ALIVE_SECONDS - loop.time())
            if loop.time() - self._last_sent >= KEEP_ALIVE_SECONDS:
                await self._send(send, KEEP_ALIVE)

    async def _send_last(self, send: Send, error: TinyGPTError) -> None:
        await self._send(send, sse_event(error_body(error).model_dump_json(), "error"))
        await self._send(send, b"", more=False)

    async def _send(self, send: Send, chunk: bytes, *, more: bool = True) -> None:
        if not self._started:
            self._started = True
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        self._last_sent = asyncio.get_running_loop().time()
        await send({"type": "http.response.body", "body": chunk, "more_body": more})
