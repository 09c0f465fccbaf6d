"""Server-sent events cut out of whatever chunks the network delivers."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from tinygpt.http import sse
from tinygpt.http.sse import KEEP_ALIVE, EventStream, sse_event, whole_events


@given(
    texts=st.lists(st.text(alphabet="ab{} é", max_size=8), max_size=8),
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=40),
    last=st.sampled_from([b"", b"data: half", b"event: delta\ndata: {}\n"]),
)
def test_each_event_is_passed_on_whole_whatever_the_chunks_and_half_a_one_is_dropped(
    texts: list[str], cuts: list[int], last: bytes
) -> None:
    sent = b"".join(sse_event(text, "delta") + KEEP_ALIVE for text in texts)

    async def chunks() -> AsyncIterator[bytes]:
        rest, i = sent + last, 0
        while rest:
            size = cuts[i % len(cuts)]
            yield rest[:size]
            rest, i = rest[size:], i + 1

    async def read() -> list[bytes]:
        return [events async for events in whole_events(chunks())]

    came = asyncio.run(read())
    assert b"".join(came) == sent
    assert all(events.endswith(b"\n\n") for events in came)


def test_an_event_is_passed_on_before_the_next_chunk_comes() -> None:
    async def scenario() -> None:
        never = asyncio.Event()

        async def chunks() -> AsyncIterator[bytes]:
            yield sse_event("1") + b"data: 2"
            await never.wait()

        events = whole_events(chunks())
        assert await anext(events) == sse_event("1")

    asyncio.run(scenario())


def test_only_silence_is_broken_by_a_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that come more often than the comment does leave no room for one."""
    monkeypatch.setattr(sse, "KEEP_ALIVE_SECONDS", 0.2)

    async def busy() -> AsyncGenerator[bytes, None]:
        for _ in range(12):
            await asyncio.sleep(0.04)
            yield sse_event("1")

    async def silent() -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(0.5)
        yield sse_event("1")

    async def sent(events: AsyncGenerator[bytes, None]) -> list[bytes]:
        bodies: list[bytes] = []

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

        async def send(message: Message) -> None:
            bodies.append(message.get("body", b""))

        await EventStream(events, seconds=10)({"type": "http"}, receive, send)
        return bodies

    assert KEEP_ALIVE not in asyncio.run(sent(busy()))
    assert KEEP_ALIVE in asyncio.run(sent(silent()))
