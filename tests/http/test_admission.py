"""Who gets a place, who waits, who is refused."""

import asyncio
import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.conftest import examples
from tinygpt.contracts.errors import DeadlineExceeded, QueueFull
from tinygpt.http.admission import Admission


def deadline(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


class Guest:
    """A request that holds its place until `leave`."""

    def __init__(self, admission: Admission, seconds: float = 5.0) -> None:
        self.inside = False
        self._leave = asyncio.Event()
        self.task = asyncio.create_task(self._visit(admission, seconds))

    async def _visit(self, admission: Admission, seconds: float) -> None:
        async with admission.place(deadline(seconds)):
            self.inside = True
            await self._leave.wait()
        self.inside = False

    async def leave(self) -> None:
        self._leave.set()
        await self.task


async def settle() -> None:
    """Let every task run as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_as_many_as_there_are_places_are_inside_and_the_others_wait() -> None:
    async def scenario() -> None:
        admission = Admission(max_in_flight=2, max_queue=2)
        guests = [Guest(admission) for _ in range(4)]
        await settle()
        assert [guest.inside for guest in guests] == [True, True, False, False]
        assert (admission.in_flight, admission.waiting) == (2, 2)
        for guest in guests:
            await guest.leave()
        assert (admission.in_flight, admission.waiting) == (0, 0)

    asyncio.run(scenario())


def test_those_who_wait_go_in_by_their_order() -> None:
    async def scenario() -> None:
        admission = Admission(max_in_flight=1, max_queue=3)
        guests = [Guest(admission) for _ in range(4)]
        for first in range(4):
            await settle()
            assert [guest.inside for guest in guests].index(True) == first
            await guests[first].leave()

    asyncio.run(scenario())


def test_one_more_than_may_wait_is_turned_away_at_once_with_a_time_to_come_back() -> None:
    async def scenario() -> None:
        admission = Admission(max_in_flight=1, max_queue=1)
        guests = [Guest(admission) for _ in range(2)]
        await settle()
        with pytest.raises(QueueFull) as caught:
            async with admission.place(deadline()):
                pytest.fail("let in")
        assert caught.value.retry_after
        assert (admission.in_flight, admission.waiting) == (1, 1)
        for guest in guests:
            await guest.leave()

    asyncio.run(scenario())


def test_without_a_queue_a_free_place_is_still_given() -> None:
    async def scenario() -> None:
        admission = Admission(max_in_flight=1, max_queue=0)
        async with admission.place(deadline()):
            with pytest.raises(QueueFull):
                async with admission.place(deadline()):
                    pytest.fail("let in")
        async with admission.place(deadline()):
            assert admission.in_flight == 1

    asyncio.run(scenario())


def test_a_deadline_that_passes_while_waiting_frees_the_place_in_the_queue() -> None:
    async def scenario() -> None:
        admission = Admission(max_in_flight=1, max_queue=1)
        guest = Guest(admission)
        await settle()
        with pytest.raises(DeadlineExceeded):
            async with admission.place(deadline(0.01)):
                pytest.fail("let in")
        assert admission.waiting == 0
        late = Guest(admission)
        await settle()
        await guest.leave()
        await settle()
        assert late.inside
        await late.leave()

    asyncio.run(scenario())


def test_a_body_that_raises_frees_its_place() -> None:
    async def scenario() -> None:
        admission = Admission(max_in_flight=1, max_queue=0)
        with pytest.raises(RuntimeError, match="in the body"):
            async with admission.place(deadline()):
                raise RuntimeError("in the body")
        async with admission.place(deadline()):
            pass

    asyncio.run(scenario())


@hypothesis_settings(max_examples=examples(60))
@given(seed=st.integers(0, 10**6), places=st.integers(1, 4), queue=st.integers(0, 4), guests=st.integers(1, 20))
def test_no_place_is_ever_lost_or_given_twice(seed: int, places: int, queue: int, guests: int) -> None:
    """Whatever mixture of leaving, going away and running out of time."""
    chance = random.Random(seed)

    async def visit(admission: Admission) -> None:
        try:
            async with admission.place(deadline(chance.choice([0.0, 0.0005, 5.0]))):
                assert admission.in_flight <= places
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
        except (QueueFull, DeadlineExceeded):
            assert admission.waiting <= queue

    async def scenario() -> None:
        admission = Admission(places, queue)
        tasks = []
        for _ in range(guests):
            tasks.append(asyncio.create_task(visit(admission)))
            if chance.random() < 0.5:
                await asyncio.sleep(0)
            if chance.random() < 0.3:
                chance.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (admission.in_flight, admission.waiting) == (0, 0)
        async with asyncio.timeout(5), contextlib.AsyncExitStack() as all_places:
            for _ in range(places):
                await all_places.enter_async_context(admission.place(deadline()))
            assert admission.in_flight == places

    asyncio.run(scenario())
