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
from tinygpt.inference.decoder import Decoder, SlotOutput, decode
from tinygpt.inference.engine import Engine, OnEnd
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.inference.sequence import Finished, SequenceOutput, SequenceRequest

MODEL = random_model(ends=False)


def request(seed: int, *, max_new_tokens: int = 20, stream: bool = False) -> SequenceRequest:
    ids = [PROMPT, 10 + seed % 80, CODE]
    return SequenceRequest(ids, SamplingParameters(temperature=1.0, seed=seed), max_new_tokens, stream=stream)


def alone(seed: int, *, max_new_tokens: int = 20) -> str:
    asked = request(seed)
    ids = decode(decoder("torch", MODEL), asked.prompt_ids, asked.sampling, max_new_tokens=max_new_tokens).ids
    return TOKENIZER.decode(ids)


class Gated:
    """A real decoder whose steps wait until `gate` is set. `failure` is raised instead of the next step."""

    def __init__(self, real: Decoder) -> None:
        self.slots, self.context_length = real.slots, real.context_length
        self.prefill, self.begin, self.interrupt = real.prefill, real.begin, real.interrupt
        self._real = real
        self.gate = threading.Event()
        self.failure: Exception | None = None
        self.broken = False

    def step(self, steps: int = 1) -> Sequence[SlotOutput]:
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
    *, slots: int = 2, max_waiting: int = 100, emit_interval: float = 0.0, on_end: OnEnd = lambda _end: None
) -> Iterator[tuple[Engine, Gated]]:
    gated = Gated(decoder("torch", MODEL, slots=slots))
    one = Engine(gated, TOKENIZER, max_waiting=max_waiting, emit_interval=emit_interval, on_end=on_end)
    try:
        yield one, gated
    finally:
        gated.gate.set()
        one.close()


def ends_of(outputs: "SimpleQueue[SequenceOutput]", count: int) -> dict[int, SequenceOutput]:
    """The last outputs of `count` sequences, by id."""
    ends: dict[int, SequenceOutput] = {}
    while len(ends) < count:
        output = outputs.get(timeout=30)
        if output.end is not None:
            ends[output.id] = output
    return ends


def text_of(output: SequenceOutput) -> str:
    assert isinstance(output.end, Finished)
    return output.text


def error_of(output: SequenceOutput) -> TinyGPTError:
    assert isinstance(output.end, TinyGPTError)
    return output.end


def test_several_threads_get_the_texts_they_would_get_alone() -> None:
    texts: dict[int, str] = {}

    def ask(seed: int) -> None:
        outputs: SimpleQueue[SequenceOutput] = SimpleQueue()
        (sequence_id,) = one.submit([request(seed)], outputs.put)
        texts[seed] = text_of(ends_of(outputs, 1)[sequence_id])

    with engine() as (one, gated):
        gated.gate.set()
        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert texts == {seed: alone(seed) for seed in range(24)}


def test_outputs_reach_the_loop_in_its_own_thread_and_all_of_a_turn_at_once() -> None:
    async def ask() -> None:
        loop = asyncio.get_running_loop()
        wakings = 0
        call_soon_threadsafe = loop.call_soon_threadsafe

        def count(*arguments: object) -> object:
            nonlocal wakings
            wakings += 1
            return call_soon_threadsafe(*arguments)  # type: ignore[arg-type]

        loop.call_soon_threadsafe = count  # type: ignore[method-assign, assignment]
        outputs: asyncio.Queue[tuple[SequenceOutput, threading.Thread]] = asyncio.Queue()
        with engine(slots=8) as (one, gated):
            ids = one.submit(
                [request(seed, stream=True) for seed in range(8)],
                lambda output: outputs.put_nowait((output, threading.current_thread())),
                loop,
            )
            gated.gate.set()
            texts: dict[int, list[str]] = {sequence_id: [] for sequence_id in ids}
            ended: set[int] = set()
            while len(ended) < 8:
                output, thread = await outputs.get()
                assert thread is threading.main_thread()
                texts[output.id].append(output.text)
                if output.end is not None:
                    ended.add(output.id)
            assert ["".join(texts[sequence_id]) for sequence_id in ids] == [alone(seed) for seed in range(8)]
            assert all(len(deltas) > 10 for deltas in texts.values())
            assert wakings <= 25, "eight requests of twenty tokens, all side by side"

    asyncio.run(ask())


def test_running_and_waiting_are_counted_and_the_queue_is_bounded() -> None:
    outputs: SimpleQueue[SequenceOutput] = SimpleQueue()
    with engine(slots=2, max_waiting=3) as (one, gated):
        first = one.submit([request(seed) for seed in range(4)], outputs.put)
        wait_until(lambda: (one.running, one.waiting) == (2, 2), "two run, two wait")
        with pytest.raises(QueueFull):
            one.submit([request(5), request(6)], outputs.put)
        last = one.submit([request(5)], outputs.put)
        with pytest.raises(QueueFull):
            one.submit([request(6)], outputs.put)
        with pytest.raises(InvalidRequest, match="more than the 5"):
            one.submit([request(seed) for seed in range(6)], outputs.put)
        gated.gate.set()

        assert set(ends_of(outputs, 5)) == {*first, *last}
        wait_until(lambda: (one.running, one.waiting) == (0, 0), "nothing is left")
        one.submit([request(6), request(7)], outputs.put)
        ends_of(outputs, 2)


def test_cancelling_frees_the_slot_and_gives_what_there_is() -> None:
    outputs: SimpleQueue[SequenceOutput] = SimpleQueue()
    with engine(slots=1) as (one, gated):
        (first,) = one.submit([request(1)], outputs.put)
        (second,) = one.submit([request(2)], outputs.put)
        one.cancel([first, 12345])
        gated.gate.set()
        ends = ends_of(outputs, 2)
        one.cancel([first, second])

    cancelled = ends[first].end
    assert isinstance(cancelled, Finished)
    assert cancelled.finish_reason == "cancelled"
    assert alone(1).startswith(ends[first].text)
    assert cancelled.completion_tokens <= 1
    assert text_of(ends[second]) == alone(2)


def test_closing_lets_what_runs_finish_and_takes_nothing_more() -> None:
    before = set(threading.enumerate())
    outputs: SimpleQueue[SequenceOutput] = SimpleQueue()
    with engine() as (one, gated):
        one.submit([request(seed) for seed in range(6)], outputs.put)
        gated.gate.set()
        one.close(drain_seconds=30)

        assert sorted(map(text_of, ends_of(outputs, 6).values())) == sorted(alone(seed) for seed in range(6))
        with pytest.raises(Draining):
            one.submit([request(1)], outputs.put)
    assert set(threading.enumerate()) <= before


def test_closing_cancels_what_does_not_finish_in_time() -> None:
    outputs: SimpleQueue[SequenceOutput] = SimpleQueue()
    with engine() as (one, gated):
        one.submit([request(seed) for seed in range(6)], outputs.put)
        wait_until(lambda: one.running == 2, "two run")
        threading.Timer(0.1, gated.gate.set).start()
        one.close()

        ends = ends_of(outputs, 6)
    assert {output.end.finish_reason for output in ends.values() if isinstance(output.end, Finished)} == {"cancelled"}


def test_a_decoder_that_fails_ends_all_with_one_error_and_is_used_again() -> None:
    outputs: SimpleQueue[SequenceOutput] = SimpleQueue()
    with engine() as (one, gated):
        gated.failure = RuntimeError("out of memory")
        one.submit([request(seed) for seed in range(5)], outputs.put)
        gated.gate.set()
        errors = map(error_of, ends_of(outputs, 5).values())

        assert {str(error) for error in errors} == {"The decoder failed: RuntimeError: out of memory."}
        (sequence_id,) = one.submit([request(3)], outputs.put)
        assert text_of(ends_of(outputs, 1)[sequence_id]) == alone(3)


def test_a_decoder_that_cannot_free_its_slots_is_not_used_again() -> None:
    outputs: SimpleQueue[SequenceOutput] = SimpleQueue()
    with engine() as (one, gated):
        gated.failure, gated.broken = RuntimeError("out of memory"), True
        one.submit([request(seed) for seed in range(5)], outputs.put)
        gated.gate.set()
        ends = ends_of(outputs, 5)

        assert all(isinstance(output.end, TinyGPTError) for output in ends.values())
        assert not one.usable
        with pytest.raises(DecoderUnusable, match="out of memory"):
            one.submit([request(3)], outputs.put)


def test_a_request_that_the_scheduler_refuses_and_those_after_it_end_with_an_error() -> None:
    outputs: SimpleQueue[SequenceOutput] = SimpleQueue()
    with engine() as (one, gated):
        take = one._scheduler.submit
        refused = iter([RuntimeError("no")])

        def take_the_second_time(*arguments: Any, **options: Any) -> None:
            for error in refused:
                raise error
            take(*arguments, **options)

        one._scheduler.submit = take_the_second_time  # type: ignore[method-assign]
        gated.gate.set()
        one.submit([request(1), request(2)], outputs.put)

        assert all(isinstance(output.end, TinyGPTError) for output in ends_of(outputs, 2).values())
        (sequence_id,) = one.submit([request(3)], outputs.put)
        assert text_of(ends_of(outputs, 1)[sequence_id]) == alone(3)
        assert one.usable
        assert one.running == one.waiting == 0


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_a_recipient_that_fails_keeps_nothing_from_the_others(in_a_loop: bool) -> None:
    def fail(_output: SequenceOutput) -> None:
        raise ValueError("no room")

    async def ask() -> None:
        loop = asyncio.get_running_loop() if in_a_loop else None
        outputs: SimpleQueue[SequenceOutput] = SimpleQueue()
        with engine() as (one, gated):
            one.submit([request(1)], fail, loop)
            (sequence_id,) = one.submit([request(2)], outputs.put, loop)
            gated.gate.set()
            ends = await asyncio.to_thread(ends_of, outputs, 1)
            assert text_of(ends[sequence_id]) == alone(2)
            assert one.usable

    asyncio.run(ask())


def test_a_loop_that_was_closed_does_not_stop_the_others() -> None:
    gone = asyncio.new_event_loop()
    gone.close()
    outputs: SimpleQueue[SequenceOutput] = SimpleQueue()
    with engine(slots=1) as (one, gated):
        one.submit([request(1, stream=True)], outputs.put, gone)
        (sequence_id,) = one.submit([request(2)], outputs.put)
        gated.gate.set()

        assert text_of(ends_of(outputs, 1)[sequence_id]) == alone(2)
        wait_until(lambda: one.running == one.waiting == 0, "nobody is left")


def test_on_end_is_called_with_every_end() -> None:
    ends: list[Finished | TinyGPTError] = []
    outputs: SimpleQueue[SequenceOutput] = SimpleQueue()
    with engine(on_end=ends.append) as (one, gated):
        gated.gate.set()
        finished = ends_of(outputs, len(one.submit([request(1), request(2)], outputs.put)))
        gated.failure = RuntimeError("out of memory")
        failed = ends_of(outputs, len(one.submit([request(3)], outputs.put)))

    assert {id(end) for end in ends[:2]} == {id(output.end) for output in finished.values()}
    assert all(isinstance(end, Finished) and end.queue_seconds >= 0 and end.decode_seconds > 0 for end in ends[:2])
    assert all(isinstance(end, Finished) and end.prompt_tokens == 3 for end in ends[:2])
    assert ends[2:] == [output.end for output in failed.values()]


def test_a_metric_that_fails_holds_no_answer_back() -> None:
    def fail(_end: Finished | TinyGPTError) -> None:
        raise ValueError("no such label")

    outputs: SimpleQueue[SequenceOutput] = SimpleQueue()
    with engine(on_end=fail) as (one, gated):
        gated.gate.set()
        (sequence_id,) = one.submit([request(1)], outputs.put)

        assert text_of(ends_of(outputs, 1)[sequence_id]) == alone(1)
