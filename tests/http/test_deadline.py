"""A body that is cancelled when its client disconnects or its time is up, and only then."""

import asyncio

import pytest
from starlette.types import Message

from tinygpt.contracts.errors import ClientGone, DeadlineExceeded
from tinygpt.http.deadline import while_connected


async def connected() -> Message:
    """The client of an answer that nobody hangs up on."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def disconnected() -> Message:
    return {"type": "http.disconnect"}


def test_a_body_that_ends_in_time_is_not_disturbed() -> None:
    async def scenario() -> str:
        async with while_connected(connected, 5.0):
            await asyncio.sleep(0)
            return "answer"

    assert asyncio.run(scenario()) == "answer"


def test_a_disconnect_cancels_the_body() -> None:
    cancelled = []

    async def scenario() -> None:
        async with while_connected(disconnected, 5.0):
            try:
                await asyncio.sleep(5.0)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

    with pytest.raises(ClientGone):
        asyncio.run(scenario())
    assert cancelled == [True]


def test_a_deadline_that_passes_cancels_the_body_and_says_how_long_it_was() -> None:
    async def scenario() -> None:
        async with while_connected(connected, 0.05):
            await asyncio.sleep(5.0)

    with pytest.raises(DeadlineExceeded, match=r"0\.1 s"):
        asyncio.run(scenario())


def test_a_timeout_of_the_body_itself_is_no_deadline() -> None:
    async def scenario() -> None:
        async with while_connected(connected, 5.0):
            raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        asyncio.run(scenario())
