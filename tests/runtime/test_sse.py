"""Server-sent events cut out of whatever pieces the network delivers."""

import asyncio
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from tinygpt.runtime.sse import KEEP_ALIVE, sse_event, whole_events


@given(
    texts=st.lists(st.text(alphabet="ab{} é", max_size=8), max_size=8),
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=40),
    last=st.sampled_from([b"", b"data: half", b"event: delta\ndata: {}\n"]),
)
def test_each_event_is_passed_on_whole_whatever_the_pieces_and_half_a_one_is_dropped(
    texts: list[str], cuts: list[int], last: bytes
) -> None:
    sent = b"".join(sse_event(text, "delta") + KEEP_ALIVE for text in texts)

    async def pieces() -> AsyncIterator[bytes]:
        rest, i = sent + last, 0
        while rest:
            size = cuts[i % len(cuts)]
            yield rest[:size]
            rest, i = rest[size:], i + 1

    async def read() -> list[bytes]:
        return [events async for events in whole_events(pieces())]

    came = asyncio.run(read())
    assert b"".join(came) == sent
    assert all(events.endswith(b"\n\n") for events in came)


def test_an_event_is_passed_on_before_the_next_piece_comes() -> None:
    async def scenario() -> None:
        never = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            yield sse_event("1") + b"data: 2"
            await never.wait()

        events = whole_events(pieces())
        assert await anext(events) == sse_event("1")

    asyncio.run(scenario())
