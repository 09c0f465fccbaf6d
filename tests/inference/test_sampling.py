"""From logits to a token: what may be drawn, and how likely."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tinygpt.data.tokenizer import CODE, EOS, PAD, PROMPT, UNK
from tinygpt.inference.sampling import (
    SamplingParameters,
    keep_top_p,
    next_token_probabilities,
    penalise_repetition,
    sample,
)

VOCABULARY = 12
logits = st.lists(
    st.floats(-50, 50, width=32), min_size=VOCABULARY, max_size=VOCABULARY
).map(torch.tensor)  # fmt: skip
probabilities = (
    st.lists(st.integers(0, 1000), min_size=1, max_size=30)
    .filter(any)
    .map(lambda weights: torch.tensor(weights, dtype=torch.float32) / sum(weights))
)
top_ps = st.floats(0, 1, exclude_min=True)


@given(probabilities, top_ps)
def test_top_p_keeps_the_likeliest_tokens_up_to_and_with_the_one_that_crosses_the_boundary(
    given_probabilities: Tensor, top_p: float
) -> None:
    kept = keep_top_p(given_probabilities, top_p) > 0

    ordered = sorted(given_probabilities[kept].tolist())
    assert ordered
    left_out = given_probabilities[~kept]
    assert not left_out.numel() or left_out.max().item() <= ordered[0]
    assert sum(ordered[1:]) < top_p + 1e-5  # without the boundary token it would be too little
    assert sum(ordered) >= top_p - 1e-5


@given(probabilities, top_ps)
def test_top_p_leaves_a_distribution_with_the_same_proportions(given_probabilities: Tensor, top_p: float) -> None:
    result = keep_top_p(given_probabilities, top_p)

    kept = result > 0
    assert result.sum().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(result[kept], given_probabilities[kept] / given_probabilities[kept].sum())


def test_top_p_keeps_the_token_that_crosses_the_boundary() -> None:
    kept = keep_top_p(torch.tensor([0.125, 0.5, 0.25, 0.125]), 0.6)

    torch.testing.assert_close(kept, torch.tensor([0.0, 2 / 3, 1 / 3, 0.0]))


def test_top_p_that_is_reached_exactly_keeps_no_token_more() -> None:
    assert keep_top_p(torch.tensor([0.5, 0.25, 0.25]), 0.5).tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("top_p", [1e-3, 1e-30, 1e-60, 5e-324])
def test_a_tiny_top_p_keeps_the_likeliest_token(top_p: float) -> None:
    assert keep_top_p(torch.tensor([0.25, 0.5, 0.25]), top_p).tolist() == [0.0, 1.0, 0.0]


def test_the_penalty_divides_positive_and_multiplies_negative_logits_of_recent_tokens() -> None:
    result = penalise_repetition(torch.tensor([2.0, -2.0, 2.0, -2.0]), [0, 1], 2.0)

    assert result.tolist() == [1.0, -4.0, 2.0, -2.0]


@given(logits, st.lists(st.integers(0, VOCABULARY - 1), max_size=40), st.floats(1, 2))
def test_the_penalty_counts_each_distinct_token_once_and_never_makes_one_likelier(
    given_logits: Tensor, recent: list[int], penalty: float
) -> None:
    before = given_logits.clone()
    result = penalise_repetition(given_logits, recent, penalty)

    assert torch.equal(result, penalise_repetition(given_logits, sorted(set(recent)), penalty))
    assert bool((result <= given_logits).all())
    untouched = [i for i in range(VOCABULARY) if i not in recent]
    assert torch.equal(result[untouched], given_logits[untouched])
    assert torch.equal(given_logits, before)


@given(logits, st.floats(0, 2), top_ps, st.lists(st.integers(EOS, VOCABULARY - 1), max_size=10), st.floats(1, 2))
def test_whatever_the_parameters_the_result_is_a_distribution_without_control_tokens(
    given_logits: Tensor, temperature: float, top_p: float, recent: list[int], penalty: float
) -> None:
    result = next_token_probabilities(
        given_logits, recent, SamplingParameters(temperature=temperature, top_p=top_p, repetition_penalty=penalty)
    )

    assert bool(torch.isfinite(result).all())
    assert bool((result >= 0).all())
    assert result.sum().item() == pytest.approx(1, abs=1e-5)
    assert result[[PAD, UNK, PROMPT, CODE]].tolist() == [0, 0, 0, 0]
    assert result[sample(result, torch.Generator())] > 0


@given(logits)
def test_temperature_zero_is_greedy(given_logits: Tensor) -> None:
    result = next_token_probabilities(given_logits, [], SamplingParameters(temperature=0.0))

    best = EOS + int(given_logits[EOS:].argmax())
    assert result[best] == 1
    assert result.sum() == 1


@pytest.mark.parametrize("temperature", [1e-4, 1e-6, 1e-20, 1e-45, 1e-60, 5e-324])
def test_a_tiny_temperature_is_greedy_and_does_not_overflow(temperature: float) -> None:
    spread = torch.linspace(-30, 30, VOCABULARY)

    result = next_token_probabilities(spread, [], SamplingParameters(temperature=temperature))

    assert result.tolist() == [0.0] * (VOCABULARY - 1) + [1.0]


def test_a_temperature_of_one_is_the_softmax_and_a_higher_one_flatter() -> None:
    given_logits = torch.linspace(0, 3, VOCABULARY)
    plain = next_token_probabilities(given_logits, [], SamplingParameters(temperature=1.0))
    flat = next_token_probabilities(given_logits, [], SamplingParameters(temperature=2.0))

    torch.testing.assert_close(plain[EOS:], torch.softmax(given_logits[EOS:], dim=0))
    torch.testing.assert_close(flat[EOS:], torch.softmax(given_logits[EOS:] / 2, dim=0))


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    generator = torch.Generator().manual_seed(0)
    wanted = torch.tensor([0.1, 0.0, 0.6, 0.3])

    drawn = [sample(wanted, generator) for _ in range(4000)]

    for token, probability in enumerate(wanted.tolist()):
        spread = 4 * math.sqrt(probability * (1 - probability) / 4000)
        assert drawn.count(token) / 4000 == pytest.approx(probability, abs=spread + 1e-9)
