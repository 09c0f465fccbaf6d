"""How much a turn does and when a stream has an output, by a clock that the test sets."""

import pytest

from tests.inference.decoders import TOKENIZER, decoder, random_model
from tests.inference.scheduling import Client, PacedDecoder, client, sequence
from tinygpt.inference.scheduler import Scheduler


def test_a_long_prompt_is_read_in_chunks_between_which_the_others_decode() -> None:
    asked = client(slots=2, prefill_tokens=4, decode_seconds=8.0)
    asked.scheduler.submit(0, sequence(prompt=1, max_new_tokens=29, seed=1, stream=True))
    asked.turn()
    asked.scheduler.submit(1, sequence(prompt=25, max_new_tokens=1))
    lengths = []
    while 1 not in asked.finished and 0 not in asked.finished:
        asked.turn()
        lengths.append(len(asked.text(0)))

    assert lengths[:6] == list(range(lengths[0], lengths[0] + 6)), "a token a turn while the prompt is read"


def test_steps_follow_the_pace_before_and_a_streams_first_token_takes_one() -> None:
    paced = PacedDecoder(decoder("compiled", random_model(ends=False), slots=4))
    asked = Client(Scheduler(paced, TOKENIZER, decode_seconds=0.0801, clock=lambda: paced.now))
    asked.scheduler.submit(0, sequence(max_new_tokens=25))
    for _ in range(2):
        asked.turn()
    asked.scheduler.submit(1, sequence(max_new_tokens=25))
    asked.turn()
    for number in (2, 3):
        asked.scheduler.submit(number, sequence(max_new_tokens=25, stream=True))
    for _ in range(2):
        asked.turn()

    assert paced.steps == [1, 8, 4, 1, 2]
    assert [len(asked.text(number)) for number in (2, 3)] == [3, 3]


def test_a_stream_has_its_first_token_at_once_and_then_an_output_per_interval() -> None:
    paced = PacedDecoder(decoder("compiled", random_model(ends=False), slots=1))
    scheduler = Scheduler(paced, TOKENIZER, decode_seconds=0.0201, emit_interval=0.0501, clock=lambda: paced.now)
    asked = Client(scheduler)
    asked.scheduler.submit(0, sequence(max_new_tokens=14, stream=True))
    lengths = []
    while 0 not in asked.finished:
        asked.turn()
        lengths.append(len(asked.text(0)))

    assert lengths == [1, 1, 1, 7, 7, 7, 13, 14]


def test_the_first_token_has_its_time_and_no_later_one() -> None:
    paced = PacedDecoder(decoder("compiled", random_model(ends=False), slots=1))
    asked = Client(Scheduler(paced, TOKENIZER, decode_seconds=0.0101, clock=lambda: paced.now))
    asked.scheduler.submit(0, sequence(max_new_tokens=14))
    asked.turn_until_idle()

    assert asked.finished[0].first_token_seconds == pytest.approx(0.01)
    assert asked.finished[0].decode_seconds == pytest.approx(0.14)


def test_times_add_up_by_the_clock_that_is_passed_in() -> None:
    asked = client(slots=1)
    asked.scheduler.submit(0, sequence(), arrived_at=-10.0)
    asked.scheduler.submit(1, sequence(), arrived_at=-5.0)
    asked.turn_until_idle()

    first, second = asked.finished[0], asked.finished[1]
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
