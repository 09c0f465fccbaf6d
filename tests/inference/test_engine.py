"""The engine's thread: requests from threads and event loops, cancelled, drained, failed."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import pytest

from tests.conftest import wait_until
from tests.inference.decoders import TOKENIZER, decoder, random_model
from tinygpt.contracts.errors import DecoderUnusable, Draining, InvalidRequest, QueueFull, TinyGPTError
from tinygpt.data.tokenizer import CODE, PROMPT
from tinygpt.inference.decoder import Decoder, Written, decode
from tinygpt.inference.engine import Engine, OnEnd
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.inference.sequence import Decoded, DecodeRequest, Event

MODEL = random_model(ends=False)


def request(seed: int, *, most: int = 20, streams: bool = False) -> DecodeRequest:
    ids = [PROMPT, 10 + seed % 80, CODE]
    return DecodeRequest(ids, SamplingParameters(temperature=1.0, seed=seed), most, streams=streams)


def alone(seed: int, *, most: int = 20) -> str:
    asked = request(seed)
    ids = decode(decoder("torch", MODEL), asked.prompt_ids, asked.sampling, max_new_tokens=most).ids
    return TOKENIZER.decode(ids)


class Gated:
    """A real decoder whose steps wait until `gate` is set; `failure` is raised in place of the next one."""

    def __init__(self, real: Decoder) -> None:
        self.slots, self.context_length = real.slots, real.context_length
        self.prefill, self.begin, self.interrupt = real.prefill, real.begin, real.interrupt
        self._real = real
        self.gate = threading.Event()
        self.failure: Exception | None = None
        self.broken = False

    def step(self, steps: int = 1) -> Sequence[Written]:
        self.gate.wait()
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return self._real.step(steps)

    def free(self, slot: int) -> None:
        if self.broken:
            raise RuntimeError("the device is gone")
        self._real.free(slot)


@contextmanager
def engine(
    *, slots: int = 2, max_waiting: int = 100, tell_seconds: float = 0.0, on_end: OnEnd = lambda _end: None
) -> Iterator[tuple[Engine, Gated]]:
    gated = Gated(decoder("torch", MODEL, slots=slots))
    one = Engine(gated, TOKENIZER, max_waiting=max_waiting, tell_seconds=tell_seconds, on_end=on_end)
    try:
        yield one, gated
    finally:
        gated.gate.set()
        one.close()


def ends_of(news: "SimpleQueue[Event]", count: int) -> dict[int, Event]:
    """The last events of so many requests, by id."""
    ends: dict[int, Event] = {}
    while len(ends) < count:
        event = news.get(timeout=30)
        if event.decoded is not None or event.error is not None:
            ends[event.id] = event
    return ends


def text_of(event: Event) -> str:
    assert event.decoded is not None
    return event.decoded.text


def test_several_threads_get_the_texts_that_they_would_get_alone() -> None:
    texts: dict[int, str] = {}

    def ask(seed: int) -> None:
        news: SimpleQueue[Event] = SimpleQueue()
        (handle,) = one.submit([request(seed)], news.put)
        texts[seed] = text_of(ends_of(news, 1)[handle])

    with engine() as (one, gated):
        gated.gate.set()
        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert texts == {seed: alone(seed) for seed in range(24)}


def test_events_reach_the_loop_that_asked_in_its_own_thread_once_a_turn_for_all() -> None:
    async def ask() -> None:
        loop = asyncio.get_running_loop()
        wakings = 0
        call_soon_threadsafe = loop.call_soon_threadsafe

        def count(*arguments: object) -> object:
            nonlocal wakings
            wakings += 1
            return call_soon_threadsafe(*arguments)  # type: ignore[arg-type]

        loop.call_soon_threadsafe = count  # type: ignore[method-assign, assignment]
        news: asyncio.Queue[tuple[Event, threading.Thread]] = asyncio.Queue()
        with engine(slots=8) as (one, gated):
            handles = one.submit(
                [request(seed, streams=True) for seed in range(8)],
                lambda event: news.put_nowait((event, threading.current_thread())),
                loop,
            )
            gated.gate.set()
            pieces: dict[int, list[str]] = {handle: [] for handle in handles}
            ended: dict[int, Decoded] = {}
            while len(ended) < 8:
                event, thread = await news.get()
                assert thread is threading.main_thread()
                pieces[event.id].append(event.text)
                if event.decoded is not None:
                    ended[event.id] = event.decoded
            assert ["".join(pieces[handle]) for handle in handles] == [alone(seed) for seed in range(8)]
            assert all(len(texts) > 10 for texts in pieces.values())
            assert wakings <= 25, "eight requests of twenty tokens, all side by side"

    asyncio.run(ask())


def test_running_and_waiting_are_counted_and_the_queue_is_bounded() -> None:
    news: SimpleQueue[Event] = SimpleQueue()
    with engine(slots=2, max_waiting=3) as (one, gated):
        first = one.submit([request(seed) for seed in range(4)], news.put)
        wait_until(lambda: (one.running, one.waiting) == (2, 2), "two run, two wait")
        with pytest.raises(QueueFull):
            one.submit([request(5), request(6)], news.put)
        last = one.submit([request(5)], news.put)
        with pytest.raises(QueueFull):
            one.submit([request(6)], news.put)
        with pytest.raises(InvalidRequest, match="5 at most"):
            one.submit([request(seed) for seed in range(6)], news.put)
        gated.gate.set()

        assert set(ends_of(news, 5)) == {*first, *last}
        wait_until(lambda: (one.running, one.waiting) == (0, 0), "nothing is left")
        one.submit([request(6), request(7)], news.put)
        ends_of(news, 2)


def test_cancelling_frees_the_slot_for_the_next_and_tells_what_was_written() -> None:
    news: SimpleQueue[Event] = SimpleQueue()
    with engine(slots=1) as (one, gated):
        (first,) = one.submit([request(1)], news.put)
        (second,) = one.submit([request(2)], news.put)
        one.cancel([first, 12345])
        gated.gate.set()
        ends = ends_of(news, 2)
        one.cancel([first, second])

    cancelled = ends[first].decoded
    assert cancelled is not None
    assert cancelled.finish_reason == "cancelled"
    assert alone(1).startswith(cancelled.text)
    assert cancelled.tokens_written <= 1
    assert text_of(ends[second]) == alone(2)


def test_closing_lets_what_runs_end_within_its_time_and_takes_nothing_more() -> None:
    before = set(threading.enumerate())
    news: SimpleQueue[Event] = SimpleQueue()
    with engine() as (one, gated):
        one.submit([request(seed) for seed in range(6)], news.put)
        gated.gate.set()
        one.close(drain_seconds=30)

        assert sorted(map(text_of, ends_of(news, 6).values())) == sorted(alone(seed) for seed in range(6))
        with pytest.raises(Draining):
            one.submit([request(1)], news.put)
    assert set(threading.enumerate()) <= before


def test_closing_cancels_what_does_not_end_in_time() -> None:
    news: SimpleQueue[Event] = SimpleQueue()
    with engine() as (one, gated):
        one.submit([request(seed) for seed in range(6)], news.put)
        wait_until(lambda: one.running == 2, "two run")
        threading.Timer(0.1, gated.gate.set).start()
        one.close()

        ends = ends_of(news, 6)
    assert {end.decoded.finish_reason for end in ends.values() if end.decoded} == {"cancelled"}


def test_a_decoder_that_fails_once_ends_the_requests_with_one_error_and_then_serves_again() -> None:
    news: SimpleQueue[Event] = SimpleQueue()
    with engine() as (one, gated):
        gated.failure = RuntimeError("out of memory")
        one.submit([request(seed) for seed in range(5)], news.put)
        gated.gate.set()
        errors = [end.error for end in ends_of(news, 5).values()]

        assert {str(error) for error in errors} == {"The decoder failed: RuntimeError: out of memory."}
        (handle,) = one.submit([request(3)], news.put)
        assert text_of(ends_of(news, 1)[handle]) == alone(3)


def test_a_decoder_that_can_not_free_its_slots_is_not_asked_again() -> None:
    news: SimpleQueue[Event] = SimpleQueue()
    with engine() as (one, gated):
        gated.failure, gated.broken = RuntimeError("out of memory"), True
        one.submit([request(seed) for seed in range(5)], news.put)
        gated.gate.set()
        ends = ends_of(news, 5)

        assert all(isinstance(end.error, TinyGPTError) for end in ends.values())
        assert not one.usable
        with pytest.raises(DecoderUnusable, match="out of memory"):
            one.submit([request(3)], news.put)


def test_a_request_that_the_scheduler_does_not_take_ends_with_an_error_and_so_do_those_after_it() -> None:
    news: SimpleQueue[Event] = SimpleQueue()
    with engine() as (one, gated):
        take = one._scheduler.submit
        refused = iter([RuntimeError("no")])

        def take_the_second_time(*arguments: Any, **options: Any) -> None:
            for error in refused:
                raise error
            take(*arguments, **options)

        one._scheduler.submit = take_the_second_time  # type: ignore[method-assign]
        gated.gate.set()
        one.submit([request(1), request(2)], news.put)

        assert all(end.error is not None for end in ends_of(news, 2).values())
        (handle,) = one.submit([request(3)], news.put)
        assert text_of(ends_of(news, 1)[handle]) == alone(3)
        assert one.usable
        assert one.running == one.waiting == 0


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_news_that_one_can_not_take_reaches_the_others(in_a_loop: bool) -> None:
    def fail(_event: Event) -> None:
        raise ValueError("no room")

    async def ask() -> None:
        loop = asyncio.get_running_loop() if in_a_loop else None
        news: SimpleQueue[Event] = SimpleQueue()
        with engine() as (one, gated):
            one.submit([request(1)], fail, loop)
            (handle,) = one.submit([request(2)], news.put, loop)
            gated.gate.set()
            ends = await asyncio.to_thread(ends_of, news, 1)
            assert text_of(ends[handle]) == alone(2)
            assert one.usable

    asyncio.run(ask())


def test_a_loop_that_was_closed_does_not_stop_the_others() -> None:
    gone = asyncio.new_event_loop()
    gone.close()
    news: SimpleQueue[Event] = SimpleQueue()
    with engine(slots=1) as (one, gated):
        one.submit([request(1, streams=True)], news.put, gone)
        (handle,) = one.submit([request(2)], news.put)
        gated.gate.set()

        assert text_of(ends_of(news, 1)[handle]) == alone(2)
        wait_until(lambda: one.running == one.waiting == 0, "nobody is left")


def test_every_end_is_told_for_metrics() -> None:
    told: list[Decoded | TinyGPTError] = []
    news: SimpleQueue[Event] = SimpleQueue()
    with engine(on_end=told.append) as (one, gated):
        gated.gate.set()
        ends = ends_of(news, len(one.submit([request(1), request(2)], news.put)))
        gated.failure = RuntimeError("out of memory")
        failed = ends_of(news, len(one.submit([request(3)], news.put)))

    answers, errors = told[:2], told[2:]
    assert {id(one) for one in answers} == {id(end.decoded) for end in ends.values()}
    assert all(isinstance(one, Decoded) and one.queue_seconds >= 0 and one.decode_seconds > 0 for one in answers)
    assert all(isinstance(one, Decoded) and one.prompt_tokens == 3 for one in answers)
    assert errors == [end.error for end in failed.values()]


def test_a_metric_that_fails_keeps_no_answer_back() -> None:
    def fail(_end: Decoded | TinyGPTError) -> None:
        raise ValueError("no such label")

    news: SimpleQueue[Event] = SimpleQueue()
    with engine(on_end=fail) as (one, gated):
        gated.gate.set()
        (handle,) = one.submit([request(1)], news.put)

        assert text_of(ends_of(news, 1)[handle]) == alone(1)


def test_a_prompt_without_room_is_refused_before_anything_is_taken() -> None:
    news: SimpleQueue[Event] = SimpleQueue()
    with engine() as (one, _gated):
        with pytest.raises(ValueError, match="room"):
            one.submit([request(1), DecodeRequest([10] * 99, SamplingParameters(), 5)], news.put)
        assert one.running == one.waiting == 0
