"""Parts of the network that the kernels of training and those of decoding share: layer norm, rotation, convolution.

`at`, `of` and the like are the first indices of an array, as a tuple: with (2, 3) a part reads x[2, 3, ...]. Ranges of
numbers are read 16 at a time, as `Lanes`.
"""

from typing import Any

import numpy as np

from tinygpt.compiled.jit import part
from tinygpt.compiled.lanes import LANES, load, multiply_add, splat, total

_EPSILON = np.float32(1e-5)
"""torch's, of a layer norm."""


@part
def mean_and_inverse_deviation(x: Any, at: Any, start: int, padded: int, width: int) -> Any:
    """Mean and 1 / standard deviation of the `width` numbers x[*at, start], x[*at, start + 1], ...

    Zeros follow them, up to `padded` numbers, a multiple of 16.
    """
    sums = splat(np.float32(0))
    for i in range(start, start + padded, LANES):
        sums = sums + load(x, (*at, i))
    mean = total(sums) / np.float32(width)
    squares = splat(np.float32(0))
    for i in range(start, start + padded, LANES):
        from_mean = load(x, (*at, i)) - mean
        squares = multiply_add(from_mean, from_mean, squares)
    of_zeros = np.float32(padded - width) * mean * mean
    variance = (total(squares) - of_zeros) / np.float32(width)
    return mean, np.float32(1) / np.sqrt(variance + _EPSILON)


@part
def rotated(first: Any, second: Any, cosine: Any, sine: Any, rounded_once: bool) -> Any:
    """`Lanes` of the two halves of a head, rotated by the angles of their position (see `model/positions.py`).

    Training rounds each sum of products once, which is faster. Decoding rounds the products as well and has to stay so:
    in int8 a model's text can depend on the last bit.
    """
    if rounded_once:
        return multiply_add(first, cosine, second * (sine * -1.0)), multiply_add(second, cosine, first * sine)
    return first * cosine - second * sine, second * cosine + first * sine


@part
def convolved(now: Any, taps: Any, of_taps: Any, inputs: Any, of_inputs: Any, last: int, count: int, c: int) -> Any:
    """`now`, the 16 channels of an input from c on, plus what the first `count` taps take of the inputs before it.

    Those are inputs[*of_inputs, last], inputs[*of_inputs, last - 1], ..., in a ring: the last one precedes the first.
    The first tap is taps[*of_taps, 0].
    """
    length = inputs.shape[len(of_inputs)]
    for i in range(count):
        place = last - i if i <= last else last - i + length
        now = multiply_add(load(taps, (*of_taps, i, c)), load(inputs, (*of_inputs, place, c)), now)
    return now
