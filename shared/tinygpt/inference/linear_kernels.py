"""Linear layers of the compiled decoder: products of rows and weights in floats, or both quantised to int8.

64 outputs of four rows are computed at a time, so that each weight is loaded once for the four. Their sums, 16 vectors,
stay in registers. R is the number of rows; `packed_weights.py` describes the layout of weights.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygpt.compiled.byte_products import (
    add_products4,
    add_sums,
    add_sums4,
    as_floats4,
    load_bytes4,
    splat_bytes,
    splat_sums4,
    store_bytes,
    to_integers,
    total_of_sums,
)
from tinygpt.compiled.jit import by_types, part
from tinygpt.compiled.lanes import (
    LANES,
    WIDE,
    larger_magnitude,
    largest_magnitude,
    load,
    load4,
    multiply4,
    multiply_add4,
    splat,
    store4,
)
from tinygpt.inference.packed_weights import ZERO_POINT, Linear, QuantisedLinear

Floats = NDArray[np.float32]


class QuantisedRows(NamedTuple):
    """Room for rows that are quantised, each with a scale of its own."""

    bytes: NDArray[np.int8]
    """(R, the widest of what is quantised)"""
    scale: Floats
    """(R,): what a row's bytes are multiplied by."""
    correction: NDArray[np.int32]
    """(R,): what a row's sums of products start from. The weights' bytes are stored `ZERO_POINT` too high, and this
    corrects for it."""


@by_types
def linear(weights: Any, *_: Any) -> Any:
    """y = x @ weight.T + bias for `count` rows, in the format of the weights."""
    return quantised_linear if weights.instance_class is QuantisedLinear else float_linear


@part
def float_linear(weights: Linear, layer: int, x: Floats, count: int, y: Floats, _: QuantisedRows) -> None:
    weight = weights.weight
    for group in range(weight.shape[1]):
        bias = load4(weights.bias, (layer, group * WIDE))
        row = 0
        while row + 4 <= count:
            sums0, sums1, sums2, sums3 = four_products(x, row, weight, layer, group, bias)
            store4(y, (row, group * WIDE), sums0)
            store4(y, (row + 1, group * WIDE), sums1)
            store4(y, (row + 2, group * WIDE), sums2)
            store4(y, (row + 3, group * WIDE), sums3)
            row += 4
        while row < count:
            store4(y, (row, group * WIDE), product(x, row, weight, layer, group, bias))
            row += 1


@part
def product(x: Floats, row: int, weight: Any, layer: int, group: int, start: Any) -> Any:
    sums = start
    for i in range(weight.shape[2]):
        sums = multiply_add4(x[row, i], load4(weight, (layer, group, i, 0)), sums)
    return sums


@part
def four_products(x: Floats, row: int, weight: Any, layer: int, group: int, start: Any) -> Any:
    sums0 = sums1 = sums2 = sums3 = start
    for i in range(weight.shape[2]):
        loaded = load4(weight, (layer, group, i, 0))
        sums0 = multiply_add4(x[row, i], loaded, sums0)
        sums1 = multiply_add4(x[row + 1, i], loaded, sums1)
        sums2 = multiply_add4(x[row + 2, i], loaded, sums2)
        sums3 = multiply_add4(x[row + 3, i], loaded, sums3)
    return sums0, sums1, sums2, sums3


@part
def quantised_linear(
    weights: QuantisedLinear, layer: int, x: Floats, count: int, y: Floats, quantised: QuantisedRows
) -> None:
    """The sums of products of bytes are exact, so they are the same in any order."""
    for row in range(count):
        quantised.scale[row], quantised.correction[row] = quantise(x, row, 0, x.shape[1], quantised.bytes)
    weight = weights.weight
    for group in range(weight.shape[1]):
        scale = load4(weights.scale, (layer, group * WIDE))
        bias = load4(weights.bias, (layer, group * WIDE))
        row = 0
        while row + 4 <= count:
            sums0, sums1, sums2, sums3 = four_quantised_products(quantised, row, weight, layer, group)
            store4(y, (row, group * WIDE), scaled(sums0, quantised.scale[row], scale, bias))
            store4(y, (row + 1, group * WIDE), scaled(sums1, quantised.scale[row + 1], scale, bias))
            store4(y, (row + 2, group * WIDE), scaled(sums2, quantised.scale[row + 2], scale, bias))
            store4(y, (row + 3, group * WIDE), scaled(sums3, quantised.scale[row + 3], scale, bias))
            row += 4
        while row < count:
            sums = quantised_product(quantised, row, weight, layer, group)
            store4(y, (row, group * WIDE), scaled(sums, quantised.scale[row], scale, bias))
            row += 1


@part
def quantise(x: Floats, row: int, first: int, width: int, bytes: Any) -> Any:
    """bytes = x / scale, rounded, for `width` numbers, the first at x[row, first]. The largest becomes 127 or -127.

    Returns the scale, which is NaN if one of the numbers is, and the `correction` for sums of their products.
    """
    magnitudes = splat(np.float32(0.0))
    for i in range(first, first + width, LANES):
        magnitudes = larger_magnitude(magnitudes, load(x, (row, i)))
    most = largest_magnitude(magnitudes)
    inverse = np.float32(127.0) / most if most > np.float32(0.0) else np.float32(0.0)
    sums = to_integers(splat(np.float32(0.0)))
    for i in range(first, first + width, LANES):
        integers = to_integers(load(x, (row, i)) * inverse)
        sums = add_sums(sums, integers)
        store_bytes(bytes, (row, i), integers)
    return most / np.float32(127.0), np.int32(-ZERO_POINT * total_of_sums(sums))


@part
def quantised_product(quantised: QuantisedRows, row: int, weight: Any, layer: int, group: int) -> Any:
    """Eight inputs at a time, in two sums, because in one sum each addition waits for the one before."""
    sums0, sums1 = splat_sums4(quantised.correction[row]), splat_sums4(np.int32(0))
    for i in range(0, weight.shape[2], 2):
        x0, x1 = splat_bytes(quantised.bytes, (row, 4 * i)), splat_bytes(quantised.bytes, (row, 4 * i + 4))
        sums0 = add_products4(load_bytes4(weight, (layer, group, i, 0, 0)), x0, sums0)
        sums1 = add_products4(load_bytes4(weight, (layer, group, i + 1, 0, 0)), x1, sums1)
    return add_sums4(sums0, sums1)


@part
def four_quantised_products(quantised: QuantisedRows, row: int, weight: Any, layer: int, group: int) -> Any:
    sums0, sums1 = splat_sums4(quantised.correction[row]), splat_sums4(quantised.correction[row + 1])
    sums2, sums3 = splat_sums4(quantised.correction[row + 2]), splat_sums4(quantised.correction[row + 3])
    for i in range(weight.shape[2]):
        loaded = load_bytes4(weight, (layer, group, i, 0, 0))
        sums0 = add_products4(loaded, splat_bytes(quantised.bytes, (row, 4 * i)), sums0)
        sums1 = add_products4(loaded, splat_bytes(quantised.bytes, (row + 1, 4 * i)), sums1)
        sums2 = add_products4(loaded, splat_bytes(quantised.bytes, (row + 2, 4 * i)), sums2)
        sums3 = add_products4(loaded, splat_bytes(quantised.bytes, (row + 3, 4 * i)), sums3)
    return sums0, sums1, sums2, sums3


@part
def scaled(sums: Any, row_scale: float, scale: Any, bias: Any) -> Any:
    """From sums of bytes' products to outputs."""
    return multiply_add4(as_floats4(sums), multiply4(row_scale, scale), bias)
