"""Connections to model servers: as many as requests are under way, used again, and none with half an answer in it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from services.gateway.connections import Connections, PooledStream

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Peer:
    """A server that counts its connections and answers while `go_on` is set."""

    def __init__(self) -> None:
        self.opened = 0
        self.answer = ANSWER
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.asked: asyncio.Queue[bytes] = asyncio.Queue()
        self.url = ""
        self._writers: list[asyncio.StreamWriter] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.asked.put_nowait(await reader.readuntil(b"\r\n\r\n"))
                await self.go_on.wait()
                writer.write(self.answer)
                await writer.drain()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[httpx.AsyncClient]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with httpx.AsyncClient(transport=Connections()) as client:
            yield client
        server.close()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def test_each_request_under_way_has_a_connection_and_the_next_ones_use_them_again() -> None:
    async def scenario() -> None:
        peer = Peer()
        async with peer.serving() as client:
            peer.go_on.clear()
            asking = [asyncio.create_task(client.get(peer.url)) for _ in range(5)]
            for _ in asking:
                await asyncio.wait_for(peer.asked.get(), 10)
            peer.go_on.set()
            assert [response.text for response in await asyncio.gather(*asking)] == ["ok"] * 5
            for _ in range(3):
                await asyncio.gather(*(client.get(peer.url) for _ in range(5)))
            assert peer.opened == 5

    asyncio.run(scenario())


def test_an_answer_that_is_left_halfway_never_reaches_another_request() -> None:
    async def scenario() -> None:
        peer = Peer()
        async with peer.serving() as client:
            peer.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nha"
            async with client.stream("GET", peer.url) as response:
                assert await anext(response.aiter_raw()) == b"ha"
            peer.answer = ANSWER
            assert (await client.get(peer.url)).text == "ok"

    asyncio.run(scenario())


def test_a_request_that_is_cancelled_or_fails_leaves_the_others_alone() -> None:
    async def scenario() -> None:
        peer = Peer()
        async with peer.serving() as client:
            peer.go_on.clear()
            cancelled = asyncio.create_task(client.get(peer.url))
            await asyncio.wait_for(peer.asked.get(), 10)
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            peer.go_on.set()
            assert (await client.get(peer.url)).text == "ok"
            peer.answer = b"nonsense\r\n\r\n"
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(peer.url)
            peer.answer = ANSWER
            assert (await client.get(peer.url)).text == "ok"

    asyncio.run(scenario())


class Unclosable(httpx.AsyncByteStream):
    """The body of a response whose closing takes for ever."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise AssertionError("nobody reads it")

    async def aclose(self) -> None:
        await asyncio.Event().wait()


class Noted(httpx.AsyncHTTPTransport):
    closed = False

    async def aclose(self) -> None:
        self.closed = True
        await super().aclose()


def test_a_request_cancelled_while_its_answer_is_closed_keeps_no_connection_open() -> None:
    async def scenario() -> None:
        connection, idle = Noted(), list[httpx.AsyncHTTPTransport]()
        closing = asyncio.create_task(PooledStream(Unclosable(), connection, idle).aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        assert connection.closed
        assert not idle

    asyncio.run(scenario())
