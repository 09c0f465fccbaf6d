"""The parts of the network that training and decoding share compute what torch does."""

from typing import Any

import numpy as np
import pytest
import torch

from tinygpt.compiled.jit import kernel
from tinygpt.compiled.lanes import LANES, load, store
from tinygpt.compiled.layers import convolved, mean_and_inverse_deviation, rotated
from tinygpt.model.positions import rotary_table, rotate


@kernel
def normalise(x: Any, row: int, start: int, padded: int, width: int) -> Any:
    return mean_and_inverse_deviation(x, (row,), start, padded, width)


@kernel
def rotate_head(head: Any, cosine: Any, sine: Any, rounded_once: bool) -> None:
    first, second = load(head, (0,)), load(head, (LANES,))
    first, second = rotated(first, second, load(cosine, (0,)), load(sine, (0,)), rounded_once)
    store(head, (0,), first)
    store(head, (LANES,), second)


@kernel
def convolve(x: Any, y: Any, taps: Any, inputs: Any, last: int, count: int) -> None:
    """taps (1, K, C) and inputs (2, K, C), of which the second are read."""
    for c in range(0, len(x), LANES):
        store(y, (c,), convolved(load(x, (c,)), taps, (0,), inputs, (1,), last, count, c))


@pytest.mark.parametrize("width", [32, 21])
def test_the_deviation_does_not_count_the_zeros_that_fill_a_row(width: int) -> None:
    x = np.random.default_rng(0).normal(3, 2, (2, 64)).astype(np.float32)
    x[1, 16 + width : 48] = 0

    mean, inverse = normalise(x, 1, 16, 32, width)

    numbers = x[1, 16 : 16 + width].astype(np.float64)
    assert mean == pytest.approx(numbers.mean(), rel=1e-5)
    assert inverse == pytest.approx(1 / np.sqrt(numbers.var() + 1e-5), rel=1e-5)


@pytest.mark.parametrize("rounded_once", [True, False])
def test_a_head_is_rotated_as_torch_rotates_it(rounded_once: bool) -> None:
    head = torch.randn(1, 1, 1, 2 * LANES, generator=torch.Generator().manual_seed(0))
    cosine, sine = (table[5:6] for table in rotary_table(8, 2 * LANES))
    expected = rotate(head, cosine, sine)

    ours = head.flatten().numpy().copy()
    rotate_head(ours, cosine[0].numpy().copy(), sine[0, LANES:].numpy().copy(), rounded_once)

    np.testing.assert_allclose(ours, expected.flatten().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("last", [0, 1, 2])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_convolution_reads_backwards_through_a_ring(last: int, count: int) -> None:
    random = np.random.default_rng(0)
    x, y, taps, inputs = (random.normal(size=shape).astype(np.float32) for shape in (32, 32, (1, 3, 32), (2, 3, 32)))

    convolve(x, y, taps, inputs, last, count)

    expected = x + sum(taps[0, i] * inputs[1, (last - i) % 3] for i in range(count))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
