"""From logits to a token: what may be drawn, and how likely."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinygpt.data.tokenizer import CODE, EOS, PAD, PROMPT, UNK
from tinygpt.inference.sampling import (
    SamplingParameters,
    draw,
    generated_tokens,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    next_token,
    next_token_probabilities,
    penalise_repetition,
    softmax,
    top_logprobs,
    uniform,
)

Floats = NDArray[np.float32]
VOCABULARY = 12
ALLOWED = generated_tokens(VOCABULARY)
NOTHING = np.zeros(0, np.int32)


def floats(numbers: Any) -> Floats:
    return np.array(numbers, np.float32)


def ids(numbers: Any) -> NDArray[np.int32]:
    return np.array(numbers, np.int32)


def distribution(logits: Floats, recent: Any = (), **parameters: Any) -> Floats:
    return next_token_probabilities(logits, ALLOWED, ids(recent), SamplingParameters(**parameters).record())


logits = st.lists(st.floats(-50, 50, width=32), min_size=VOCABULARY, max_size=VOCABULARY).map(floats)
probabilities = (
    st.lists(st.integers(0, 1000), min_size=1, max_size=30)
    .filter(any)
    .map(lambda weights: floats(np.array(weights) / sum(weights)))
)
top_ps = st.floats(0, 1, exclude_min=True)


@given(probabilities, top_ps)
def test_top_p_keeps_the_most_likely_tokens_with_the_one_that_crosses_the_boundary(
    given_probabilities: Floats, top_p: float
) -> None:
    kept = keep_top_p(given_probabilities, top_p) > 0

    ordered = sorted(given_probabilities[kept].tolist())
    assert ordered
    left_out = given_probabilities[~kept]
    assert not len(left_out) or left_out.max() <= ordered[0]
    assert sum(ordered[1:]) < top_p + 1e-5  # without the boundary token it would be too little
    assert sum(ordered) >= top_p - 1e-5


@given(probabilities, st.integers(1, 31))
def test_top_k_keeps_that_many_of_the_most_likely(given_probabilities: Floats, top_k: int) -> None:
    kept = keep_top_k(given_probabilities, top_k) > 0

    possible = given_probabilities > 0
    assert kept.sum() == min(top_k, possible.sum())
    left_out = given_probabilities[possible & ~kept]
    assert not len(left_out) or left_out.max() <= given_probabilities[kept].min()


@given(probabilities, st.floats(0, 1))
def test_min_p_is_relative_to_the_most_likely_token(given_probabilities: Floats, min_p: float) -> None:
    kept = keep_min_p(given_probabilities, min_p) > 0

    enough = given_probabilities >= given_probabilities.max() * np.float32(min_p)
    assert kept.tolist() == (enough & (given_probabilities > 0)).tolist()
    assert kept[given_probabilities.argmax()]


@given(
    probabilities,
    st.one_of(
        top_ps.map(lambda top_p: lambda p: keep_top_p(p, top_p)),
        st.integers(1, 31).map(lambda top_k: lambda p: keep_top_k(p, top_k)),
        st.floats(0, 1).map(lambda min_p: lambda p: keep_min_p(p, min_p)),
    ),
)
def test_every_cut_leaves_a_distribution_with_the_same_proportions(given_probabilities: Floats, cut: Any) -> None:
    before = given_probabilities.copy()
    result = cut(given_probabilities)

    kept = result > 0
    assert result.sum() == pytest.approx(1, abs=1e-5)
    assert result[kept] == pytest.approx(given_probabilities[kept] / given_probabilities[kept].sum(), rel=1e-4)
    assert given_probabilities.tolist() == before.tolist()


def test_of_equals_the_first_are_kept() -> None:
    equal = floats([0.1] * 10)

    assert np.flatnonzero(keep_top_k(equal, 3)).tolist() == [0, 1, 2]
    assert np.flatnonzero(keep_top_p(equal, 0.25)).tolist() == [0, 1, 2]


def test_top_p_that_is_reached_exactly_keeps_no_token_more() -> None:
    assert keep_top_p(floats([0.5, 0.25, 0.25]), 0.5).tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("top_p", [1e-3, 1e-30, 1e-60, 5e-324])
def test_a_tiny_top_p_keeps_the_most_likely_token(top_p: float) -> None:
    assert keep_top_p(floats([0.25, 0.5, 0.25]), top_p).tolist() == [0.0, 1.0, 0.0]


def test_the_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    result = penalise_repetition(floats([2.0, -2.0, 2.0, -2.0]), ids([0, 1]), 2.0)

    assert result.tolist() == [1.0, -4.0, 2.0, -2.0]


@given(logits, st.lists(st.integers(0, VOCABULARY - 1), max_size=40), st.floats(1, 2))
def test_the_penalty_applies_to_each_token_once_and_never_makes_one_more_likely(
    given_logits: Floats, recent: list[int], penalty: float
) -> None:
    before = given_logits.copy()
    result = penalise_repetition(given_logits, ids(recent), penalty)

    assert result.tolist() == penalise_repetition(given_logits, ids(sorted(set(recent))), penalty).tolist()
    assert (result <= given_logits).all()
    untouched = [i for i in range(VOCABULARY) if i not in recent]
    assert result[untouched].tolist() == given_logits[untouched].tolist()
    assert given_logits.tolist() == before.tolist()


def test_the_penalty_looks_at_the_window_alone() -> None:
    favourite = floats([0.0] * 8 + [3.0, 2.0, 0.0, 0.0])
    output = ids([8, 10, 10])

    def taken(window: int) -> int:
        record = SamplingParameters(repetition_penalty=2.0, repetition_window=window).record()
        return next_token(favourite, ALLOWED, output, record, len(output))[0]

    assert [taken(window) for window in (1, 2, 3, 64)] == [8, 8, 9, 9]


@given(
    logits,
    st.floats(0, 2),
    top_ps,
    st.integers(0, 20),
    st.floats(0, 1),
    st.lists(st.integers(EOS, VOCABULARY - 1), max_size=10),
    st.floats(1, 2),
    st.integers(0, 2**64 - 1),
)
def test_any_parameters_give_a_distribution_without_control_tokens_to_draw_from(
    given_logits: Floats,
    temperature: float,
    top_p: float,
    top_k: int,
    min_p: float,
    recent: list[int],
    penalty: float,
    seed: int,
) -> None:
    parameters = SamplingParameters(
        temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p, repetition_penalty=penalty, seed=seed
    )
    result = next_token_probabilities(given_logits, ALLOWED, ids(recent), parameters.record())

    assert np.isfinite(result).all()
    assert (result >= 0).all()
    assert result.sum() == pytest.approx(1, abs=1e-5)
    assert result[[PAD, UNK, PROMPT, CODE]].tolist() == [0, 0, 0, 0]
    for position in range(3):
        token, _ = next_token(given_logits, ALLOWED, ids(recent), parameters.record(), position)
        assert result[token] > 0


@given(logits)
def test_temperature_zero_is_greedy(given_logits: Floats) -> None:
    result = distribution(given_logits)

    best = EOS + int(given_logits[EOS:].argmax())
    assert result[best] == 1
    assert result.sum() == 1


@pytest.mark.parametrize("temperature", [1e-4, 1e-6, 1e-20, 1e-45, 1e-60, 5e-324])
def test_a_tiny_temperature_is_greedy_and_does_not_overflow(temperature: float) -> None:
    result = distribution(np.linspace(-30, 30, VOCABULARY, dtype=np.float32), temperature=temperature)

    assert result.tolist() == [0.0] * (VOCABULARY - 1) + [1.0]


def test_a_temperature_of_one_is_the_softmax_and_a_higher_one_flatter() -> None:
    given_logits = floats(np.linspace(0, 3, VOCABULARY))

    for temperature in (1.0, 2.0):
        expected = softmax(floats(given_logits[EOS:] / temperature), 1.0)
        assert distribution(given_logits, temperature=temperature)[EOS:] == pytest.approx(expected, rel=1e-5)


@given(logits, st.integers(EOS, VOCABULARY - 1))
def test_a_log_probability_is_the_models_own_whatever_the_parameters(given_logits: Floats, only: int) -> None:
    """With one token allowed, its log probability is still that of the plain softmax over all."""
    allowed = np.zeros(VOCABULARY, np.bool_)
    allowed[only] = True
    record = SamplingParameters(temperature=0.5, repetition_penalty=1.5, top_p=0.5, seed=1).record()

    token, logprob = next_token(given_logits, allowed, ids([only]), record, 0)

    shifted = given_logits.astype(np.float64) - given_logits.max()
    assert token == only
    assert logprob == pytest.approx(shifted[only] - math.log(np.exp(shifted).sum()), abs=1e-4)


@given(logits, st.integers(1, VOCABULARY))
def test_the_most_likely_tokens_come_first_with_their_log_probabilities(given_logits: Floats, count: int) -> None:
    tokens, logprobs = top_logprobs(given_logits, count)

    assert tokens.tolist() == np.argsort(-given_logits, kind="stable")[:count].tolist()
    assert sorted(logprobs.tolist(), reverse=True) == logprobs.tolist()
    assert np.exp(top_logprobs(given_logits, VOCABULARY)[1].astype(np.float64)).sum() == pytest.approx(1, abs=1e-4)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    probabilities = floats([0.1, 0.0, 0.6, 0.3])

    drawn = [draw(probabilities, uniform(7, position)) for position in range(4000)]

    for token, probability in enumerate(probabilities.tolist()):
        spread = 4 * math.sqrt(probability * (1 - probability) / 4000)
        assert drawn.count(token) / 4000 == pytest.approx(probability, abs=spread + 1e-9)


def test_a_draw_at_either_end_is_a_possible_token() -> None:
    third = floats([0.0, 1 / 3, 1 / 3, 1 / 3, 0.0])

    assert draw(third, 0.0) == 1
    assert draw(third, 1 - 2**-53) == 3


def test_random_numbers_are_uniform_and_independent_of_neighbouring_seeds() -> None:
    numbers = np.array([[uniform(seed, position) for position in range(200)] for seed in range(50)])

    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.histogram(numbers, bins=20, range=(0, 1))[0]
    assert abs(counts - 500).max() < 5 * math.sqrt(500)
    for before, after in ((numbers[:, :-1], numbers[:, 1:]), (numbers[:-1], numbers[1:])):
        assert abs(np.corrcoef(before.ravel(), after.ravel())[0, 1]) < 0.05
    assert len(np.unique(numbers)) == numbers.size


def test_a_seed_and_a_position_give_the_same_number_everywhere() -> None:
    """Pinned, so that a seed gives the same text after an upgrade."""
    numbers = [uniform(seed, position) for seed, position in ((0, 0), (0, 1), (1, 0), (2**63 - 1, 5))]

    assert numbers == [0.28176129772258496, 0.80255116473696, 0.8628561488610587, 0.8732631434773588]


def test_without_a_seed_a_fresh_one_is_drawn() -> None:
    assert SamplingParameters().record()["seed"] != SamplingParameters().record()["seed"]
    assert SamplingParameters(seed=5).record()["seed"] == 5
