"""Linear layers of the compiled decoder: products of rows with weights in floats, or of both rounded to bytes.

64 outputs are made at a time, and of four rows so that each weight is loaded once for the four: their sums, 16 vectors,
stay in registers. Shapes: R rows; how weights lie stands in `packed_weights.py`.
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
    round_lanes,
    splat_bytes,
    splat_sums4,
    store_bytes,
    total_of_sums,
)
from tinygpt.compiled.jit import by_types, part
from tinygpt.compiled.lanes import (
    LANES,
    WIDE,
    larger_size,
    largest_size,
    load,
    load4,
    multiply4,
    multiply_add4,
    splat,
    store4,
)
from tinygpt.inference.packed_weights import ZERO_BYTE, ByteLinear, Linear

Floats = NDArray[np.float32]


class ByteRows(NamedTuple):
    """Room for rows that are rounded to bytes."""

    bytes: NDArray[np.int8]
    """(R, the widest of what is rounded)"""
    scale: Floats
    """(R,): what a row's bytes are multiplied by."""
    start: NDArray[np.int32]
    """(R,): what a row's sums of products start from. The other side's bytes are stored `ZERO_BYTE` too high, and this
    takes it off again."""


@by_types
def linear(weights: Any, *_: Any) -> Any:
    """y = x @ weight.T + bias of `count` rows, as the weights are stored."""
    return byte_linear if weights.instance_class is ByteLinear else float_linear


@part
def float_linear(weights: Linear, layer: int, x: Floats, count: int, y: Floats, _: ByteRows) -> None:
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
def byte_linear(weights: ByteLinear, layer: int, x: Floats, count: int, y: Floats, rounded: ByteRows) -> None:
    """The sums of bytes' products are exact, and so the same in whatever order."""
    for row in range(count):
        rounded.scale[row], rounded.start[row] = round_to_bytes(x, row, 0, x.shape[1], rounded.bytes)
    weight = weights.weight
    for group in range(weight.shape[1]):
        scale = load4(weights.scale, (layer, group * WIDE))
        bias = load4(weights.bias, (layer, group * WIDE))
        row = 0
        while row + 4 <= count:
            sums0, sums1, sums2, sums3 = four_byte_products(rounded, row, weight, layer, group)
            store4(y, (row, group * WIDE), scaled(sums0, rounded.scale[row], scale, bias))
            store4(y, (row + 1, group * WIDE), scaled(sums1, rounded.scale[row + 1], scale, bias))
            store4(y, (row + 2, group * WIDE), scaled(sums2, rounded.scale[row + 2], scale, bias))
            store4(y, (row + 3, group * WIDE), scaled(sums3, rounded.scale[row + 3], scale, bias))
            row += 4
        while row < count:
            sums = byte_product(rounded, row, weight, layer, group)
            store4(y, (row, group * WIDE), scaled(sums, rounded.scale[row], scale, bias))
            row += 1


@part
def round_to_bytes(x: Floats, row: int, first: int, width: int, bytes: Any) -> Any:
    """bytes = x / scale, rounded, of `width` numbers from x[row, first] on; the largest becomes 127 or -127.

    Returns the scale, NaN where a number is, and what sums of products with bytes that are stored too high start from.
    """
    sizes = splat(np.float32(0.0))
    for i in range(first, first + width, LANES):
        sizes = larger_size(sizes, load(x, (row, i)))
    most = largest_size(sizes)
    inverse = np.float32(127.0) / most if most > np.float32(0.0) else np.float32(0.0)
    sums = round_lanes(splat(np.float32(0.0)))
    for i in range(first, first + width, LANES):
        rounded = round_lanes(load(x, (row, i)) * inverse)
        sums = add_sums(sums, rounded)
        store_bytes(bytes, (row, i), rounded)
    return most / np.float32(127.0), np.int32(-ZERO_BYTE * total_of_sums(sums))


@part
def byte_product(rounded: ByteRows, row: int, weight: Any, layer: int, group: int) -> Any:
    """Eight inputs at a time, in two sums: each addition would have to wait for the one before."""
    sums0, sums1 = splat_sums4(rounded.start[row]), splat_sums4(np.int32(0))
    for i in range(0, weight.shape[2], 2):
        x0, x1 = splat_bytes(rounded.bytes, (row, 4 * i)), splat_bytes(rounded.bytes, (row, 4 * i + 4))
        sums0 = add_products4(load_bytes4(weight, (layer, group, i, 0, 0)), x0, sums0)
        sums1 = add_products4(load_bytes4(weight, (layer, group, i + 1, 0, 0)), x1, sums1)
    return add_sums4(sums0, sums1)


@part
def four_byte_products(rounded: ByteRows, row: int, weight: Any, layer: int, group: int) -> Any:
    sums0, sums1 = splat_sums4(rounded.start[row]), splat_sums4(rounded.start[row + 1])
    sums2, sums3 = splat_sums4(rounded.start[row + 2]), splat_sums4(rounded.start[row + 3])
    for i in range(weight.shape[2]):
        loaded = load_bytes4(weight, (layer, group, i, 0, 0))
        sums0 = add_products4(loaded, splat_bytes(rounded.bytes, (row, 4 * i)), sums0)
        sums1 = add_products4(loaded, splat_bytes(rounded.bytes, (row + 1, 4 * i)), sums1)
        sums2 = add_products4(loaded, splat_bytes(rounded.bytes, (row + 2, 4 * i)), sums2)
        sums3 = add_products4(loaded, splat_bytes(rounded.bytes, (row + 3, 4 * i)), sums3)
    return sums0, sums1, sums2, sums3


@part
def scaled(sums: Any, row_scale: float, scale: Any, bias: Any) -> Any:
    """From sums of bytes' products to outputs."""
    return multiply_add4(as_floats4(sums), multiply4(row_scale, scale), bias)
