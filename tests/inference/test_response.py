"""From the outputs of sequences to deltas and the response."""

from dataclasses import replace

import pytest

from tests.inference.decoders import TOKENIZER
from tinygpt.contracts.generation import GenerateRequest, Usage
from tinygpt.inference.response import delta_of, raw_choice, response_of
from tinygpt.inference.sequence import Finished, SequenceOutput, join_outputs

FINISHED = Finished(
    finish_reason="eos",
    prompt_tokens=5,
    completion_tokens=3,
    queue_seconds=0.1,
    prefill_seconds=0.2,
    decode_seconds=0.3,
    first_token_seconds=0.4,
)
A, B, C = TOKENIZER.encode("abc")


def test_joined_outputs_are_the_whole_sequence() -> None:
    outputs = [
        SequenceOutput(7, "a", [A], [-0.1], [((A, -0.1), (B, -2.5))]),
        SequenceOutput(7, "", [], [], []),
        SequenceOutput(7, "bc", [B, C], [-0.2, -0.3], [((B, -0.2), (C, -1.5)), ((C, -0.3), (A, -1.6))], FINISHED),
    ]

    whole = join_outputs(outputs)

    assert (whole.id, whole.text, whole.ids, whole.logprobs) == (7, "abc", [A, B, C], [-0.1, -0.2, -0.3])
    assert [top[0][0] for top in whole.top] == [A, B, C]
    assert whole.end is FINISHED
    assert join_outputs(outputs[2:]) is outputs[2]


def test_a_delta_has_its_choice_its_text_and_at_last_its_finish_reason() -> None:
    request = GenerateRequest(prompt="p")

    delta = delta_of(SequenceOutput(7, "ab", [A, B]), request, 2, TOKENIZER)
    last = delta_of(SequenceOutput(7, "", end=FINISHED), request, 2, TOKENIZER)

    assert (delta.index, delta.text, delta.logprobs, delta.finish_reason) == (2, "ab", None, None)
    assert (last.index, last.text, last.logprobs, last.finish_reason) == (2, "", None, "eos")


@pytest.mark.parametrize("asked", [None, 0, 1])
def test_log_probabilities_have_the_names_of_their_tokens_if_asked_for(asked: int | None) -> None:
    top = [((A, -0.1),), ((C, -0.2),)] if asked else []
    sequence = SequenceOutput(7, "ab", [A, B], [-0.1, -0.9], top, FINISHED)

    logprobs = raw_choice(sequence, GenerateRequest(prompt="p", logprobs=asked), TOKENIZER).logprobs

    if asked is None:
        assert logprobs is None
        return
    assert logprobs is not None
    assert [(one.token, one.id, one.logprob) for one in logprobs] == [("a", A, -0.1), ("b", B, -0.9)]
    assert [[other.token for other in one.top] for one in logprobs] == ([["a"], ["c"]] if asked else [[], []])


def test_times_are_those_of_the_slowest_choice_and_usage_counts_all() -> None:
    slow = replace(FINISHED, completion_tokens=9, queue_seconds=0.5, decode_seconds=0.12345678, first_token_seconds=0.9)
    fast = replace(FINISHED, prefill_seconds=0.7, decode_seconds=0.1, first_token_seconds=0.3)
    none = replace(FINISHED, completion_tokens=0, queue_seconds=0.0, decode_seconds=0.0, first_token_seconds=None)
    sequences = [SequenceOutput(i, "ab", [A, B], end=end) for i, end in enumerate((slow, fast, none))]
    choices = [raw_choice(sequence, GenerateRequest(prompt="p"), TOKENIZER) for sequence in sequences]

    response = response_of(sequences, choices, model_id="r-1")

    assert response.usage == Usage(prompt_tokens=5, completion_tokens=12)
    timings = response.timings
    assert (timings.queue, timings.prefill, timings.decode) == (0.5, 0.7, 0.123457)
    assert timings.first_token == 0.3
    assert (response.model, response.choices) == ("r-1", choices)
    assert response_of(sequences[2:], choices[2:], model_id="r-1").timings.first_token is None
    assert response_of(sequences[:1], choices[:1], model_id="r-1").choices is None
