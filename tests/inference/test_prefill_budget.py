"""How many tokens of prompts a turn reads: one budget for all prompts together, in the order of arrival."""

from collections.abc import Mapping, Sequence

import pytest

from tests.inference.decoders import TOKENIZER
from tests.inference.scheduling import Client, known_decoder, sequence
from tinygpt.inference.decoder import Decoder, SlotOutput
from tinygpt.inference.scheduler import Scheduler


class Reading:
    """A decoder that keeps how many tokens of each slot a call of `prefill` was given."""

    def __init__(self, real: Decoder) -> None:
        self._real = real
        self.slots, self.context_length = real.slots, real.context_length
        self.begin, self.interrupt, self.free = real.begin, real.interrupt, real.free
        self.read: list[dict[int, int]] = []

    def prefill(self, chunks: Mapping[int, Sequence[int]]) -> None:
        self.read.append({slot: len(chunk) for slot, chunk in chunks.items()})
        self._real.prefill(chunks)

    def step(self, steps: int = 1) -> Sequence[SlotOutput]:
        return self._real.step(steps)


def reading(prompts: Sequence[int], *, prefill_tokens: int, slots: int = 4) -> list[dict[int, int]]:
    """What each call of `prefill` reads of prompts with so many tokens in their text, and two more around it."""
    decoder = Reading(known_decoder("torch", slots=slots))
    asked = Client(Scheduler(decoder, TOKENIZER, prefill_tokens=prefill_tokens))
    for number, length in enumerate(prompts):
        asked.scheduler.submit(number, sequence(prompt=length, max_new_tokens=1))
    asked.turn_until_idle()
    assert len(asked.finished) == len(prompts)
    return decoder.read


@pytest.mark.parametrize("prefill_tokens", [1, 7, 10, 64])
def test_all_prompts_of_a_turn_share_one_budget(prefill_tokens: int) -> None:
    lengths = [8, 8, 8, 8]

    read = reading(lengths, prefill_tokens=prefill_tokens)

    totals = [sum(chunks.values()) for chunks in read]
    whole = sum(length + 2 for length in lengths)
    assert totals[:-1] == [prefill_tokens] * (len(totals) - 1)
    assert sum(totals) == whole
    assert len(totals) == -(-whole // prefill_tokens)


def test_prompts_are_read_in_the_order_of_arrival() -> None:
    read = reading([8, 3, 18], prefill_tokens=12)

    first, second, third = dict.fromkeys(slot for chunks in read for slot in chunks)
    assert read == [{first: 10, second: 2}, {second: 3, third: 9}, {third: 11}]


def test_a_prompt_that_fills_the_budget_exactly_leaves_none_for_the_next() -> None:
    assert [sum(chunks.values()) for chunks in reading([8, 8], prefill_tokens=10)] == [10, 10]
    assert [len(chunks) for chunks in reading([8, 8], prefill_tokens=10)] == [1, 1]
