"""Continuous batching: nothing lost, nothing answered twice, nobody starved, no slot leaked, no text changed."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inference.decoders import BACKENDS, CONFIG, TOKENIZER, decoder, random_model
from tinygpt.contracts.errors import QueueFull, TinyGPTError
from tinygpt.data.tokenizer import CODE, PROMPT
from tinygpt.inference.backend import Backend
from tinygpt.inference.decoder import Decoder, Written, decode
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.inference.scheduler import Scheduler
from tinygpt.inference.sequence import Decoded, DecodeRequest, Event

PROMPT_IDS = [PROMPT, 10, 11, 12, CODE]
MODEL = random_model(ends=True)
every_backend = pytest.mark.parametrize("backend", BACKENDS)


def request(
    *,
    prompt: int = 3,
    most: int = 8,
    seed: int = 0,
    stop: Sequence[str] = (),
    streams: bool = False,
    logprobs: int | None = None,
) -> DecodeRequest:
    """`prompt` is the length of its text in tokens."""
    ids = [PROMPT, *(10 + (seed + i) % 80 for i in range(prompt)), CODE]
    sampling = SamplingParameters(temperature=1.0 if seed else 0.0, seed=seed)
    return DecodeRequest(ids, sampling, most, stop=stop, streams=streams, logprobs=logprobs)


@cache
def text_alone(backend: Backend, prompt: int, most: int, seed: int) -> str:
    asked = request(prompt=prompt, most=most, seed=seed)
    ids = decode(decoder(backend, MODEL), asked.prompt_ids, asked.sampling, max_new_tokens=most).ids
    return TOKENIZER.decode(ids)


@dataclass
class Client:
    """Turns a scheduler and keeps what it hears, by request."""

    scheduler: Scheduler
    pieces: dict[int, str] = field(default_factory=dict)
    decoded: dict[int, Decoded] = field(default_factory=dict)
    ends: Counter[int] = field(default_factory=Counter)
    turns: int = 0

    def turn(self) -> list[Event]:
        events = self.scheduler.turn()
        self.turns += 1
        for event in events:
            assert event.id not in self.decoded
            self.pieces[event.id] = self.pieces.get(event.id, "") + event.text
            if event.decoded is not None:
                self.decoded[event.id] = event.decoded
                self.ends[event.id] += 1
        return events

    def turn_until_idle(self, most: int = 10_000) -> None:
        while self.scheduler.busy:
            self.turn()
            assert self.turns < most


def client(backend: Backend = "torch", *, slots: int = 2, **options: float) -> Client:
    clock = itertools.count()
    ticks: dict[str, Any] = {"clock": lambda: float(next(clock)), **options}
    return Client(Scheduler(decoder(backend, MODEL, slots=slots), TOKENIZER, **ticks))


@dataclass(frozen=True)
class Arrival:
    prompt: int
    most: int
    seed: int
    stop: tuple[int, int] | None
    """Where in the text that it gives alone the stop string begins, and how long it is."""
    streams: bool
    cancelled_after: int | None
    """Turns."""
    turns_before: int


ARRIVALS = st.builds(
    Arrival,
    prompt=st.sampled_from([0, 1, 5, 20, CONFIG.context_length - 3]),
    most=st.sampled_from([1, 2, 7, 30]),
    seed=st.integers(0, 30),
    stop=st.none() | st.tuples(st.integers(0, 10), st.integers(1, 3)),
    streams=st.booleans(),
    cancelled_after=st.none() | st.none() | st.integers(0, 6),
    turns_before=st.sampled_from([0, 0, 0, 1, 2, 5]),
)


@every_backend
@settings(max_examples=60)
@given(
    arrivals=st.lists(ARRIVALS, max_size=60),
    slots=st.integers(1, 5),
    prefill_tokens=st.sampled_from([1, 7, 64]),
    seconds=st.sampled_from([0.5, 1.0, 4.0]),
    tell_seconds=st.sampled_from([0.0, 5.0, 100.0]),
)
def test_whatever_comes_and_goes_everybody_gets_what_they_would_get_alone(
    backend: Backend, arrivals: list[Arrival], slots: int, prefill_tokens: int, seconds: float, tell_seconds: float
) -> None:
    asked = client(
        backend,
        slots=slots,
        max_waiting=1000,
        prefill_tokens=prefill_tokens,
        seconds=seconds,
        tell_seconds=tell_seconds,
    )
    to_cancel: dict[int, list[int]] = {}
    stops: dict[int, str] = {}
    work = 0

    def turn() -> None:
        for number in to_cancel.pop(asked.turns, []):
            asked.scheduler.cancel(number)
        asked.turn()
        assert asked.scheduler.running <= slots

    for number, arrival in enumerate(arrivals):
        for _ in range(arrival.turns_before):
            turn()
        alone = text_alone(backend, arrival.prompt, arrival.most, arrival.seed)
        start, length = arrival.stop or (len(alone), 0)
        stops[number] = alone[start : start + length] or "no such text"
        asked.scheduler.submit(
            number,
            request(
                prompt=arrival.prompt,
                most=arrival.most,
                seed=arrival.seed,
                stop=[stops[number]] if arrival.stop else [],
                streams=arrival.streams,
            ),
        )
        work += arrival.prompt + 2 + arrival.most
        if arrival.cancelled_after is not None:
            to_cancel.setdefault(asked.turns + arrival.cancelled_after, []).append(number)
    arrived = asked.turns
    while asked.scheduler.busy:
        turn()
        assert asked.turns - arrived <= work, "a turn with work to do does some"

    assert asked.ends == Counter(range(len(arrivals)))
    for number, arrival in enumerate(arrivals):
        decoded = asked.decoded[number]
        alone = text_alone(backend, arrival.prompt, arrival.most, arrival.seed)
        if decoded.finish_reason == "cancelled":
            assert arrival.cancelled_after is not None
            assert alone.startswith(decoded.text)
        else:
            assert decoded.text == alone.split(stops[number])[0]
            assert (decoded.finish_reason == "stop") == (stops[number] in alone)
        assert asked.pieces[number] == (decoded.text if arrival.streams else "")
    assert asked.scheduler.running == asked.scheduler.waiting == 0

    for number in range(slots):  # every slot is there to be used again, all at once
        asked.scheduler.submit(-1 - number, request(prompt=5, most=30, seed=number + 1))
    asked.turn()
    assert asked.scheduler.running + sum(number < 0 for number in asked.decoded) == slots
    asked.turn_until_idle()
    assert [asked.decoded[-1 - number].text for number in range(slots)] == [
        text_alone(backend, 5, 30, number + 1) for number in range(slots)
    ]


@every_backend
def test_a_thousand_requests_through_a_few_slots(backend: Backend) -> None:
    asked = client(backend, slots=7, max_waiting=1000)
    requests = [(i * 7 % 20, 1 + i % 9, i % 31) for i in range(1000)]
    for number, (prompt, most, seed) in enumerate(requests):
        asked.scheduler.submit(number, request(prompt=prompt, most=most, seed=seed))
        if number % 3 == 0:
            asked.turn()
    asked.turn_until_idle(100_000)

    assert asked.ends == Counter(range(1000))
    assert all(
        asked.decoded[number].text == text_alone(backend, *parameters) for number, parameters in enumerate(requests)
    )


def test_who_comes_first_gets_a_slot_first_whatever_their_size() -> None:
    asked = client(slots=2)
    submitted = {number: float(number) for number in range(20)}
    for number in submitted:
        asked.scheduler.submit(number, request(prompt=20 if number % 3 else 1, most=1 + number % 7), at=number)
    asked.turn_until_idle()

    admitted = [submitted[number] + asked.decoded[number].queue_seconds for number in range(20)]
    assert admitted == sorted(admitted)


def test_a_long_prompt_is_read_in_chunks_between_which_the_others_write() -> None:
    asked = client(slots=2, prefill_tokens=4, seconds=8.0)
    asked.scheduler.submit(0, request(prompt=1, most=29, seed=1, streams=True))
    asked.turn()
    asked.scheduler.submit(1, request(prompt=25, most=1))
    lengths = []
    while 1 not in asked.decoded and 0 not in asked.decoded:
        asked.turn()
        lengths.append(len(asked.pieces[0]))

    assert lengths[:6] == list(range(lengths[0], lengths[0] + 6)), "a token a turn while the prompt is read"


class _Paced:
    """A decoder whose clock says a hundredth of a second for every token; `asked` is how many steps each call was."""

    def __init__(self, real: Decoder) -> None:
        self._real = real
        self.slots, self.context_length = real.slots, real.context_length
        self.prefill, self.begin, self.interrupt, self.free = real.prefill, real.begin, real.interrupt, real.free
        self.asked: list[int] = []
        self.now = 0.0

    def step(self, steps: int = 1) -> Sequence[Written]:
        self.asked.append(steps)
        written = self._real.step(steps)
        self.now += 0.01 * sum(len(part.ids) for part in written)
        return written


def test_a_turn_writes_for_its_time_by_the_pace_of_the_turn_before_but_tells_a_first_token_at_once() -> None:
    paced = _Paced(decoder("compiled", random_model(ends=False), slots=4))
    asked = Client(Scheduler(paced, TOKENIZER, seconds=0.0801, clock=lambda: paced.now))
    asked.scheduler.submit(0, request(most=25))
    for _ in range(2):
        asked.turn()
    asked.scheduler.submit(1, request(most=25))
    asked.turn()
    for number in (2, 3):
        asked.scheduler.submit(number, request(most=25, streams=True))
    for _ in range(2):
        asked.turn()

    assert paced.asked == [1, 8, 4, 1, 2]
    assert [len(asked.pieces[number]) for number in (2, 3)] == [3, 3]


def test_a_stream_is_told_its_first_token_at_once_and_then_some_at_a_time() -> None:
    paced = _Paced(decoder("compiled", random_model(ends=False), slots=1))
    asked = Client(Scheduler(paced, TOKENIZER, seconds=0.0201, tell_seconds=0.0501, clock=lambda: paced.now))
    asked.scheduler.submit(0, request(most=14, streams=True))
    lengths = []
    while 0 not in asked.decoded:
        asked.turn()
        lengths.append(len(asked.pieces.get(0, "")))

    assert lengths == [1, 1, 1, 7, 7, 7, 13, 14]
    assert asked.pieces[0] == asked.decoded[0].text


def test_a_cancelled_request_keeps_what_it_wrote_and_its_slot_is_free_in_the_next_turn() -> None:
    asked = client(slots=1)
    asked.scheduler.submit(0, request(most=20, seed=1))
    asked.scheduler.submit(1, request(most=20, seed=2))
    for _ in range(4):
        asked.turn()

    asked.scheduler.cancel(0)
    asked.turn()

    assert asked.decoded[0].finish_reason == "cancelled"
    assert asked.decoded[0].text == text_alone("torch", 3, 20, 1)[: asked.decoded[0].tokens_written]
    assert asked.decoded[0].tokens_written > 0
    assert asked.scheduler.running == 1
    asked.turn_until_idle()
    assert asked.decoded[1].text == text_alone("torch", 3, 20, 2)


def test_a_request_may_be_cancelled_while_it_waits_and_while_its_prompt_is_read() -> None:
    asked = client(slots=1, prefill_tokens=2)
    for number in range(3):
        asked.scheduler.submit(number, request(prompt=10))
    asked.turn()
    asked.scheduler.cancel(2)
    asked.scheduler.cancel(0)
    asked.scheduler.cancel(99)
    asked.scheduler.cancel(0)
    asked.turn_until_idle()

    assert asked.ends == Counter(range(3))
    assert [asked.decoded[number].finish_reason for number in (0, 2)] == ["cancelled"] * 2
    assert asked.decoded[2].tokens_written == 0
    assert asked.decoded[2].first_token_seconds is None
    assert asked.decoded[1].text == text_alone("torch", 10, 8, 0)


def test_the_queue_is_bounded_and_free_slots_are_no_part_of_it() -> None:
    asked = client(slots=2, max_waiting=3)
    for number in range(5):
        asked.scheduler.submit(number, request())
    with pytest.raises(QueueFull):
        asked.scheduler.submit(5, request())
    asked.turn()
    with pytest.raises(QueueFull):
        asked.scheduler.submit(5, request())
    asked.scheduler.cancel(4)
    asked.scheduler.submit(5, request())
    asked.turn_until_idle()

    assert set(asked.decoded) == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("length", [0, CONFIG.context_length, CONFIG.context_length + 5])
def test_a_prompt_that_is_empty_or_leaves_no_room_is_refused(length: int) -> None:
    asked = client()

    with pytest.raises(ValueError, match=str(CONFIG.context_length)):
        asked.scheduler.submit(0, DecodeRequest([10] * length, SamplingParameters(), 5))
    assert not asked.scheduler.busy


@pytest.mark.parametrize("most", [1, 29 - 2, 4096])
def test_max_new_tokens_of_one_and_of_as_many_as_fit_and_of_more(most: int) -> None:
    asked = Client(Scheduler(decoder("torch", random_model(ends=False)), TOKENIZER))
    asked.scheduler.submit(0, request(prompt=3, most=most))
    asked.turn_until_idle()

    decoded = asked.decoded[0]
    assert (decoded.finish_reason, decoded.tokens_written) == ("length", min(most, CONFIG.context_length - 5))


def test_times_add_up_by_the_clock_that_it_is_given() -> None:
    asked = client(slots=1)
    asked.scheduler.submit(0, request(), at=-10.0)
    asked.scheduler.submit(1, request(), at=-5.0)
    asked.turn_until_idle()

    first, second = asked.decoded[0], asked.decoded[1]
    assert first.queue_seconds >= 10
    assert second.queue_seconds > 5
    assert second.queue_seconds - 5 > first.queue_seconds - 10
    assert first.prefill_seconds > 0
    assert first.first_token_seconds is not None
    assert (
        first.queue_seconds + first.prefill_seconds
        < first.first_token_seconds
        < first.queue_seconds + first.prefill_seconds + first.decode_seconds
    )


def test_log_probabilities_are_kept_where_asked_for_and_cover_the_tokens_of_the_text() -> None:
    alone = text_alone("torch", 3, 8, 1)
    asked = client(slots=3)
    asked.scheduler.submit(0, request(seed=1, logprobs=2, stop=[alone[3:5]]))
    asked.scheduler.submit(1, request(seed=1, logprobs=0))
    asked.scheduler.submit(2, request(seed=1, streams=True))
    asked.turn_until_idle()

    stopped, plain, bare = (asked.decoded[number] for number in range(3))
    assert (stopped.text, stopped.tokens_written, len(stopped.tokens.ids)) == (alone[:3], 5, 3)
    assert list(stopped.tokens.logprobs) == list(plain.tokens.logprobs)[:3]
    assert [len(top) for top in stopped.tokens.top] == [2, 2, 2]
    assert plain.tokens.top == []
    assert bare.tokens.logprobs == []


@every_backend
def test_a_prompt_that_the_network_has_no_number_for_ends_with_an_error_and_the_others_with_their_texts(
    backend: Backend,
) -> None:
    model = random_model(ends=False)
    with torch.no_grad():
        model.token_embedding.weight[10 + 70] = torch.nan
    asked = Client(Scheduler(decoder(backend, model, slots=2), TOKENIZER))
    seeds = (1, 70, 2, 70, 3)
    for number, seed in enumerate(seeds):
        asked.scheduler.submit(number, request(prompt=1, most=1, seed=seed))
    errors = {}
    while asked.scheduler.busy:
        errors.update({event.id: event.error for event in asked.turn() if event.error})

    assert errors.keys() == {1, 3}
    assert all("NaN" in str(error) for error in errors.values())
    assert asked.decoded.keys() == {0, 2, 4}
    assert asked.scheduler.running == 0


class _Fails:
    """A decoder that raises at the third step."""

    def __init__(self, real: Decoder) -> None:
        self._real = real
        self.slots, self.context_length = real.slots, real.context_length
        self.prefill, self.begin, self.interrupt, self.free = real.prefill, real.begin, real.interrupt, real.free
        self._steps = 0

    def step(self, steps: int = 1) -> Sequence[Written]:
        self._steps += 1
        if self._steps == 3:
            raise RuntimeError("out of memory")
        return self._real.step(steps)


def test_a_decoder_that_fails_ends_all_requests_with_the_error_and_can_be_used_again() -> None:
    asked = Client(Scheduler(_Fails(decoder("torch", MODEL, slots=2)), TOKENIZER))
    for number in range(4):
        asked.scheduler.submit(number, request(most=20, seed=1))
    with pytest.raises(RuntimeError, match="out of memory"):
        asked.turn_until_idle()

    failure = TinyGPTError("it failed")
    events = asked.scheduler.fail(failure)
    asked.scheduler.reset()

    assert sorted(event.id for event in events if event.error is failure) == [0, 1, 2, 3]
    assert not asked.scheduler.busy
    for number in range(4, 8):
        asked.scheduler.submit(number, request(most=20, seed=1))
    asked.turn_until_idle()
    assert {asked.decoded[number].text for number in range(4, 8)} == {text_alone("torch", 3, 20, 1)}


def test_a_stream_is_told_what_it_wrote_before_the_error_that_ends_it() -> None:
    alone = text_alone("torch", 3, 20, 1)
    failing = _Fails(decoder("torch", MODEL, slots=1))
    asked = Client(Scheduler(failing, TOKENIZER, seconds=0.0, tell_seconds=1e9))
    asked.scheduler.submit(0, request(most=20, seed=1, streams=True))
    with pytest.raises(RuntimeError, match="out of memory"):
        asked.turn_until_idle()

    told, ended = asked.scheduler.fail(TinyGPTError("it failed"))

    assert (asked.pieces[0], told.text) == (alone[0], alone[1])
    assert ended.error is not None


@every_backend
def test_a_stream_is_told_what_it_wrote_before_the_network_had_no_number(backend: Backend) -> None:
    model = random_model(ends=False)
    with torch.no_grad():
        model.position_embedding.weight[6] = torch.nan  # three of the prompt, three more are read, then this
    asked = Client(Scheduler(decoder(backend, model, slots=1), TOKENIZER, tell_seconds=1e9))
    asked.scheduler.submit(0, request(prompt=1, most=20, seed=1, streams=True))
    errors = []
    while asked.scheduler.busy:
        errors += [event.error for event in asked.turn() if event.error]

    assert len(asked.pieces[0]) == 4
    assert len(errors) == 1
