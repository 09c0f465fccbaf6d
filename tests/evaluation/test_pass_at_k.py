"""The estimator against counting every choice of k answers."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.evaluation.pass_at_k import mean_pass_at_k, pass_at_k, reported_ks
from tinygpt.evaluation.wilson import wilson_interval


@pytest.mark.parametrize("samples", range(1, 8))
def test_it_is_the_share_of_choices_with_a_right_answer(samples: int) -> None:
    for passed in range(samples + 1):
        answers = [True] * passed + [False] * (samples - passed)
        for k in range(1, samples + 1):
            choices = list(combinations(answers, k))
            assert pass_at_k(samples, passed, k) == pytest.approx(sum(map(any, choices)) / len(choices))


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_it_is_a_probability_that_grows_with_k(case: tuple[int, int, int]) -> None:
    samples, passed, k = case

    assert 0 <= pass_at_k(samples, passed, k) <= pass_at_k(samples, passed, min(k + 1, samples)) <= 1
    assert pass_at_k(samples, passed, 1) == pytest.approx(passed / samples)


@pytest.mark.parametrize(("samples", "passed", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 4), (3, 1, 0)])
def test_what_can_not_be_estimated_is_refused(samples: int, passed: int, k: int) -> None:
    with pytest.raises(ValueError):
        pass_at_k(samples, passed, k)


def test_the_mean_of_no_rows_is_nothing() -> None:
    assert mean_pass_at_k([], 1, 1) == 0
    assert mean_pass_at_k([0, 2], 2, 1) == 0.5


def test_the_ks_that_are_told() -> None:
    assert reported_ks(1) == [1]
    assert reported_ks(7) == [1, 5, 7]
    assert reported_ks(20) == [1, 5, 10, 20]


def test_the_interval_holds_the_share_and_narrows_with_rows() -> None:
    few, many = wilson_interval(0.9, 10), wilson_interval(0.9, 1000)

    assert few[0] < many[0] < 0.9 < many[1] < few[1] <= 1
    assert wilson_interval(1.0, 3) == pytest.approx((0.4385, 1.0), abs=1e-3)
    assert wilson_interval(0.0, 0) == (0.0, 1.0)
