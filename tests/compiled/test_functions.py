"""What no processor has an instruction for is as exact as it says."""

import math
from typing import Any

import numpy as np

from tinygpt.compiled.functions import erf, exp, softmax_weight
from tinygpt.compiled.jit import kernel
from tinygpt.compiled.lanes import LANES, first_lanes, load, store


@kernel
def erfs(x: Any) -> None:
    for i in range(0, len(x), LANES):
        store(x, (i,), erf(load(x, (i,))))


@kernel
def exps(x: Any) -> None:
    for i in range(0, len(x), LANES):
        store(x, (i,), exp(load(x, (i,))))


@kernel
def weights(x: Any) -> None:
    for i in range(0, len(x), LANES):
        store(x, (i,), softmax_weight(load(x, (i,))))


@kernel
def firsts(x: Any, count: int) -> None:
    store(x, (0,), first_lanes(load(x, (0,)), count, np.float32(-1.0)))


def test_the_error_function() -> None:
    x = np.linspace(-9, 9, LANES * 2000, dtype=np.float32)
    expected = [math.erf(value) for value in x.tolist()]
    erfs(x)
    np.testing.assert_allclose(x, expected, atol=5e-7, rtol=0)


def test_the_exponential_function() -> None:
    x = np.linspace(-86, 88, LANES * 2000, dtype=np.float32)
    expected = np.exp(x.astype(np.float64))
    exps(x)
    np.testing.assert_allclose(x, expected, rtol=4e-7)


def test_nan_stays_nan_and_what_is_far_below_stays_finite() -> None:
    x = np.array([np.nan, -np.inf, -1e30, 0.0] * 4, np.float32)
    exps(x)
    assert np.isnan(x[::4]).all()
    assert (x[1::4] < 2e-38).all()
    assert (x[3::4] == 1).all()
    x[:] = [np.nan, -np.inf, np.inf, 0.0] * 4
    erfs(x)
    assert np.isnan(x[::4]).all()
    np.testing.assert_allclose(x[1::4], -1, atol=5e-7)
    np.testing.assert_allclose(x[2::4], 1, atol=5e-7)


def test_the_first_lanes_are_kept() -> None:
    for count in (0, 1, 15, 16, 17, 10**6):
        x = np.arange(LANES, dtype=np.float32)
        firsts(x, count)
        np.testing.assert_array_equal(x, [i if i < count else -1 for i in range(LANES)])


def test_a_weight_is_nothing_or_large_enough_to_be_multiplied() -> None:
    x = np.linspace(-200, 0, LANES * 100, dtype=np.float32)
    expected = np.where(x < -40, 0, np.exp(x))
    x[0] = np.nan
    weights(x)
    assert np.isnan(x[0])
    np.testing.assert_allclose(x[1:], expected[1:], rtol=4e-7)
    assert x[x > 0].min() > 4e-18
