"""Connections to the model servers: one per current request, kept open for later ones."""

from collections import defaultdict
from collections.abc import AsyncIterator

import httpx

_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1)
_MAX_IDLE = 64


class Connections(httpx.AsyncBaseTransport):
    """An httpx transport with a pool that is a stack per address, so that a request takes a connection in O(1).

    httpcore's own pool checks every connection twice per request, with a system call. With 64 of them that costs more
    than the request itself.
    """

    def __init__(self) -> None:
        self._ssl_context = httpx.create_ssl_context()
        self._idle: defaultdict[tuple[str, str, int | None], list[httpx.AsyncHTTPTransport]] = defaultdict(list)
        """By scheme, host and port, the last used at the end."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        idle = self._idle[request.url.scheme, request.url.host, request.url.port]
        connection = idle.pop() if idle else httpx.AsyncHTTPTransport(verify=self._ssl_context, limits=_ONE)
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await connection.aclose()
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = PooledStream(response.stream, connection, idle)
        return response

    async def aclose(self) -> None:
        for idle in self._idle.values():
            while idle:
                await idle.pop().aclose()


class PooledStream(httpx.AsyncByteStream):
    """A response's body. Closing it returns its connection to the pool."""

    def __init__(
        self,
        stream: httpx.AsyncByteStream,
        connection: httpx.AsyncHTTPTransport,
        idle: list[httpx.AsyncHTTPTransport],
    ) -> None:
        self._stream = stream
        self._connection = connection
        self._idle = idle
        self._closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._stream.aclose()
        except BaseException:
            await self._connection.aclose()
            raise
        if len(self._idle) < _MAX_IDLE:
            self._idle.append(self._connection)
        else:
            await self._connection.aclose()
