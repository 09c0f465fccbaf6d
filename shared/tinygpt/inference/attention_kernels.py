"""Attention of the compiled decoder, over keys and values in floats, or in int8 with a scale each.

Shapes: S slots of capacity T, L layers, H heads, D head width.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygpt.compiled.byte_products import (
    BYTES_A_SUM,
    add_products4,
    as_floats4,
    load_bytes4,
    splat_bytes,
    splat_sums4,
    store_unsigned,
)
from tinygpt.compiled.functions import softmax_weight
from tinygpt.compiled.jit import by_types, part
from tinygpt.compiled.lanes import (
    LANES,
    WIDE,
    first_lanes,
    largest,
    load,
    load4,
    maximum,
    multiply4,
    multiply_add,
    multiply_add4,
    splat,
    splat4,
    store,
    store4,
    store_one,
    total,
)
from tinygpt.inference.linear_kernels import QuantisedRows, quantise

Floats = NDArray[np.float32]


class Cache(NamedTuple):
    """Keys and values, in float32 or bfloat16."""

    keys: Any
    """(S, L, H, T / 64, D, 64): 64 positions are adjacent, like 64 outputs in a linear layer's weights."""
    values: Any
    """(S, L, H, T, D)"""


class QuantisedCache(NamedTuple):
    """Keys and values in int8. With a long sequence they are half of what a step reads."""

    keys: NDArray[np.uint8]
    """(S, L, H, T / 64, D / 4, 64, 4): stored `ZERO_POINT` too high, like weights."""
    key_scale: Floats
    """(S, L, H, T)"""
    values: NDArray[np.int8]
    """(S, L, H, T, D)"""
    value_scale: Floats
    """(S, L, H, T)"""


@by_types
def keep(cache: Any, *_: Any) -> Any:
    """Keep the keys and values of a row at its slot and position."""
    return keep_quantised if cache.instance_class is QuantisedCache else keep_floats


@part
def keep_floats(
    cache: Cache, projected: Floats, row: int, slot: int, layer: int, position: int, _: QuantisedRows
) -> None:
    """An even position clears the value after it. `weighted_mean` reads both, and 0 times what an earlier sequence left
    there could be NaN."""
    _, _, heads, _, width = cache.values.shape
    for head in range(heads):
        key, value = (heads + head) * width, (2 * heads + head) * width
        for i in range(width):
            at = (slot, layer, head, position // WIDE, i, position % WIDE)
            store_one(cache.keys, at, projected[row, key + i])
        for i in range(0, width, LANES):
            store(cache.values, (slot, layer, head, position, i), load(projected, (row, value + i)))
            if position % 2 == 0:
                store(cache.values, (slot, layer, head, position + 1, i), splat(np.float32(0.0)))


@part
def keep_quantised(
    cache: QuantisedCache, projected: Floats, row: int, slot: int, layer: int, position: int, quantised: QuantisedRows
) -> None:
    """The first of sixteen positions clears the scales of all, because those ahead are multiplied by weights of 0."""
    _, _, heads, _, width = cache.values.shape
    for head in range(heads):
        key, value = (heads + head) * width, (2 * heads + head) * width
        scale, _ = quantise(projected, row, key, width, quantised.bytes)
        cache.key_scale[slot, layer, head, position] = scale
        for i in range(0, width, BYTES_A_SUM):
            at = (slot, layer, head, position // WIDE, i // BYTES_A_SUM, position % WIDE, 0)
            store_unsigned(cache.keys, at, quantised.bytes, (row, key + i))
        if position % LANES == 0:
            store(cache.value_scale, (slot, layer, head, position), splat(np.float32(0.0)))
        scale, _ = quantise(projected, row, value, width, quantised.bytes)
        cache.value_scale[slot, layer, head, position] = scale
        for i in range(width):
            cache.values[slot, layer, head, position, i] = quantised.bytes[row, value + i]


@by_types
def attend(cache: Any, *_: Any) -> Any:
    """attended = for each head, the weighted mean of the values up to the row's position.

    The weights are the softmax of scores[s] = query . keys[s], which are computed 64 at a time.
    """
    return attend_quantised if cache.instance_class is QuantisedCache else attend_floats


@part
def attend_floats(
    cache: Cache,
    projected: Floats,
    row: int,
    slot: int,
    layer: int,
    position: int,
    scores: Floats,
    attended: Floats,
    _: QuantisedRows,
) -> None:
    _, _, heads, _, width = cache.values.shape
    for head in range(heads):
        for block in range(position // WIDE + 1):
            sums = splat4(np.float32(0.0))
            for i in range(width):
                keys = load4(cache.keys, (slot, layer, head, block, i, 0))
                sums = multiply_add4(projected[row, head * width + i], keys, sums)
            store4(scores, (block * WIDE,), sums)
        total_weight = exponentiate(scores, position + 1)
        weighted_mean(cache.values, scores, total_weight, slot, layer, head, position, attended, row)


@part
def attend_quantised(
    cache: QuantisedCache,
    projected: Floats,
    row: int,
    slot: int,
    layer: int,
    position: int,
    scores: Floats,
    attended: Floats,
    quantised: QuantisedRows,
) -> None:
    _, _, heads, _, width = cache.values.shape
    for head in range(heads):
        scale, correction = quantise(projected, row, head * width, width, quantised.bytes)
        for block in range(position // WIDE + 1):
            sums = splat_sums4(correction)
            for i in range(0, width, BYTES_A_SUM):
                keys = load_bytes4(cache.keys, (slot, layer, head, block, i // BYTES_A_SUM, 0, 0))
                sums = add_products4(keys, splat_bytes(quantised.bytes, (row, head * width + i)), sums)
            scales = multiply4(scale, load4(cache.key_scale, (slot, layer, head, block * WIDE)))
            store4(scores, (block * WIDE,), multiply4(as_floats4(sums), scales))
        total_weight = exponentiate(scores, position + 1)
        for s in range(0, position + 1, LANES):
            store(scores, (s,), load(scores, (s,)) * load(cache.value_scale, (slot, layer, head, s)))
        weighted_mean(cache.values, scores, total_weight, slot, layer, head, position, attended, row)


@part
def exponentiate(scores: Floats, count: int) -> Any:
    """Replace `count` scores by exp(score - largest), and those after them, up to a multiple of 16, by 0. Returns the
    sum."""
    most = splat(np.float32(-np.inf))
    for i in range(0, count, LANES):
        most = maximum(most, first_lanes(load(scores, (i,)), count - i, np.float32(-np.inf)))
    peak = largest(most)
    sums = splat(np.float32(0.0))
    for i in range(0, count, LANES):
        weights = first_lanes(softmax_weight(load(scores, (i,)) - peak), count - i, np.float32(0.0))
        sums = sums + weights
        store(scores, (i,), weights)
    return total(sums)


@part
def weighted_mean(
    values: Any,
    weights: Floats,
    total_weight: float,
    slot: int,
    layer: int,
    head: int,
    position: int,
    attended: Floats,
    row: int,
) -> None:
    """attended = the mean. It has four sums side by side, because in one sum each addition waits for the one before."""
    width = values.shape[4]
    for i in range(0, width, 2 * LANES):
        even0 = even1 = odd0 = odd1 = splat(np.float32(0.0))
        for s in range(0, position + 1, 2):
            even0 = multiply_add(weights[s], load(values, (slot, layer, head, s, i)), even0)
            even1 = multiply_add(weights[s], load(values, (slot, layer, head, s, i + LANES)), even1)
            odd0 = multiply_add(weights[s + 1], load(values, (slot, layer, head, s + 1, i)), odd0)
            odd1 = multiply_add(weights[s + 1], load(values, (slot, layer, head, s + 1, i + LANES)), odd1)
        store(attended, (row, head * width + i), (even0 + odd0) / total_weight)
        store(attended, (row, head * width + i + LANES), (even1 + odd1) / total_weight)
