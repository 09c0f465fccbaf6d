"""The transformer once more, as loops: what `model/transformer.py` says in tensors, compiled for a CPU.

A call handles some rows, each of them one token: its slot, its position in the slot's sequence, its id. They may be the
next tokens of many sequences (decoding) or many tokens of one prompt, in order (prefill). Whatever the rows, a row's
result is made by the same operations in the same order: it does not depend, not by a bit, on what else is computed.

Shapes: R rows, C width, H heads, D head width, L layers, V vocabulary, each width rounded up as `packed_weights.py`
says and the rest of it filled with zeros.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygpt.compiled.functions import erf, exp
from tinygpt.compiled.jit import inlined, kernel_of_parts, part
from tinygpt.compiled.lanes import (
    LANES,
    WIDE,
    largest,
    load,
    load4,
    maximum,
    multiply_add,
    multiply_add4,
    splat,
    splat4,
    store,
    store4,
    store_one,
    total,
)
from tinygpt.inference.packed_weights import Linear, Norm, Weights
from tinygpt.model.kernels import find_ngram
from tinygpt.model.ngram_hashes import HASH_MULTIPLIER

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]
_EPSILON = np.float32(1e-5)


class Sequences(NamedTuple):
    """What every slot remembers of its sequence, S slots of capacity T."""

    ids: Integers
    """(S, T)"""
    keys: Any
    """(S, L, H, T / 64, D, 64): 64 positions side by side, as 64 outputs are in a linear layer's weights."""
    values: Any
    """(S, L, H, T, D)"""
    recent_projected: Floats
    """(S, L, taps, 3 H D): inputs of the convolution before attention, position p at p modulo taps."""
    recent_normed: Floats
    """(S, MLPs, taps, C): of the one before the MLP."""


class Rows(NamedTuple):
    """The rows of a call, and room for what is computed of them."""

    slot: Integers
    """(R,)"""
    position: Integers
    """(R,)"""
    x: Floats
    """(R, C): the residual stream."""
    normed: Floats
    """(R, C)"""
    projected: Floats
    """(R, 3 H D): queries, keys and values."""
    attended: Floats
    """(R, H D)"""
    hidden: Floats
    """(R, 4 C): inside the MLP."""
    added: Floats
    """(R, C): what a block adds to the stream."""
    logits: Floats
    """(R, V)"""
    scores: Floats
    """(T,): of one query."""


@kernel_of_parts
def forward(weights: Weights, sequences: Sequences, rows: Rows, count: int) -> None:
    """Read the first `count` rows' tokens: their keys and values are kept, the stream is left in `rows.x`."""
    embed(weights, sequences.ids, rows, count)
    without_mlp = len(weights.head_gain) - len(weights.expand.bias)
    for layer in range(len(weights.head_gain)):
        attention(weights, sequences, rows, count, layer)
        if layer >= without_mlp:
            mlp(weights, sequences, rows, count, layer - without_mlp)


@kernel_of_parts
def compute_logits(weights: Weights, rows: Rows, count: int) -> None:
    """From the stream to logits over each row's next token, in `rows.logits`."""
    layer_norm(rows.x, count, weights.final_norm, 0, weights.width, rows.normed)
    linear(rows.normed, count, weights.head, 0, rows.logits)


@inlined
def embed(weights: Weights, ids: Integers, rows: Rows, count: int) -> None:
    """The sum of a token's embedding, its position's where positions are learned, and its n-grams'."""
    for row in range(count):
        slot, position = rows.slot[row], rows.position[row]
        copy_row(weights.token_embedding, ids[slot, position], rows.x, row)
        if len(weights.position_embedding) > 0:
            add_row(weights.position_embedding, position, rows.x, row)
        hashed = np.int64(0)
        n = 0
        for size in weights.ngram_sizes:
            while n < size:
                token = ids[slot, position - n] if position >= n else 0  # what precedes the text is 0
                hashed = hashed * HASH_MULTIPLIER + token + 1
                n += 1
            known = find_ngram(hashed, weights.ngram_places, weights.ngram_hashes)
            if known >= 0:
                add_row(weights.ngram_table, known, rows.x, row)


@part
def copy_row(table: Any, index: Any, x: Floats, row: int) -> None:
    for i in range(0, x.shape[1], LANES):
        store(x, (row, i), load(table, (index, i)))


@part
def add_row(table: Any, index: Any, x: Floats, row: int) -> None:
    for i in range(0, x.shape[1], LANES):
        store(x, (row, i), load(x, (row, i)) + load(table, (index, i)))


@inlined
def attention(weights: Weights, sequences: Sequences, rows: Rows, count: int, layer: int) -> None:
    """Normalise, project to queries, keys and values, attend, project back, add to the stream."""
    layer_norm(rows.x, count, weights.attention_norm, layer, weights.width, rows.normed)
    linear(rows.normed, count, weights.query_key_value, layer, rows.projected)
    convolve(rows.projected, rows, count, weights.projected_convolution, layer, sequences.recent_projected)
    heads = sequences.values.shape[2]
    for row in range(count):
        slot, position = rows.slot[row], rows.position[row]
        for head in range(2 * heads):
            prepare(
                rows.projected,
                row,
                head,
                weights.head_gain,
                layer,
                weights.normed_head_width,
                weights.rotary_cosine,
                weights.rotary_sine,
                position,
            )
        for head in range(heads):
            keep_key(rows.projected, row, heads + head, sequences.keys, slot, layer, head, position)
            keep_value(rows.projected, row, 2 * heads + head, sequences.values, slot, layer, head, position)
    for row in range(count):
        slot, position = rows.slot[row], rows.position[row]
        for head in range(heads):
            match(rows.projected, row, sequences.keys, slot, layer, head, position, rows.scores)
            sum_of_weights = exponentiate(rows.scores, position + 1)
            average(rows.scores, sum_of_weights, sequences.values, slot, layer, head, position, rows.attended, row)
    linear(rows.attended, count, weights.attention_output, layer, rows.added)
    add(rows.x, rows.added, count)


@inlined
def mlp(weights: Weights, sequences: Sequences, rows: Rows, count: int, layer: int) -> None:
    """Normalise, widen, GELU, narrow, add to the stream. `layer` counts those that have an MLP."""
    layer_norm(rows.x, count, weights.mlp_norm, layer, weights.width, rows.normed)
    convolve(rows.normed, rows, count, weights.normed_convolution, layer, sequences.recent_normed)
    linear(rows.normed, count, weights.expand, layer, rows.hidden)
    gelu(rows.hidden, count)
    linear(rows.hidden, count, weights.contract, layer, rows.added)
    add(rows.x, rows.added, count)


@part
def linear(x: Floats, count: int, weights: Linear, layer: int, y: Floats) -> None:
    """y = x @ weight.T * scale + bias, 64 outputs at a time, and of four rows so that each weight is loaded once for
    the four: their sums, 16 `Lanes`, stay in registers."""
    weight = weights.weight
    for group in range(weight.shape[1]):
        scale = load4(weights.scale, (layer, group * WIDE))
        bias = load4(weights.bias, (layer, group * WIDE))
        row = 0
        while row + 4 <= count:
            sums0, sums1, sums2, sums3 = four_products(x, row, weight, layer, group)
            store4(y, (row, group * WIDE), multiply_add4(sums0, scale, bias))
            store4(y, (row + 1, group * WIDE), multiply_add4(sums1, scale, bias))
            store4(y, (row + 2, group * WIDE), multiply_add4(sums2, scale, bias))
            store4(y, (row + 3, group * WIDE), multiply_add4(sums3, scale, bias))
            row += 4
        while row < count:
            store4(y, (row, group * WIDE), multiply_add4(product(x, row, weight, layer, group), scale, bias))
            row += 1


@part
def product(x: Floats, row: int, weight: Any, layer: int, group: int) -> Any:
    sums = splat4(np.float32(0.0))
    for i in range(weight.shape[2]):
        sums = multiply_add4(x[row, i], load4(weight, (layer, group, i, 0)), sums)
    return sums


@part
def four_products(x: Floats, row: int, weight: Any, layer: int, group: int) -> Any:
    sums0 = sums1 = sums2 = sums3 = splat4(np.float32(0.0))
    for i in range(weight.shape[2]):
        loaded = load4(weight, (layer, group, i, 0))
        sums0 = multiply_add4(x[row, i], loaded, sums0)
        sums1 = multiply_add4(x[row + 1, i], loaded, sums1)
        sums2 = multiply_add4(x[row + 2, i], loaded, sums2)
        sums3 = multiply_add4(x[row + 3, i], loaded, sums3)
    return sums0, sums1, sums2, sums3


@part
def layer_norm(x: Floats, count: int, norm: Norm, layer: int, width: int, y: Floats) -> None:
    """y = (x - mean) / standard deviation * gain + bias (Ba et al., 2016)."""
    for row in range(count):
        mean, inverse = mean_and_inverse_deviation(x, row, 0, norm.gain.shape[1], width)
        for i in range(0, norm.gain.shape[1], LANES):
            normed = (load(x, (row, i)) - mean) * inverse
            store(y, (row, i), multiply_add(normed, load(norm.gain, (layer, i)), load(norm.bias, (layer, i))))


@part
def mean_and_inverse_deviation(x: Floats, row: int, start: int, padded: int, width: int) -> tuple[Any, Any]:
    """Of `width` numbers from x[row, start] on, after which zeros fill `padded`."""
    sums = splat(np.float32(0.0))
    for i in range(start, start + padded, LANES):
        sums = sums + load(x, (row, i))
    mean = total(sums) / np.float32(width)
    squares = splat(np.float32(0.0))
    for i in range(start, start + padded, LANES):
        from_mean = load(x, (row, i)) - mean
        squares = multiply_add(from_mean, from_mean, squares)
    of_zeros = np.float32(padded - width) * mean * mean
    variance = (total(squares) - of_zeros) / np.float32(width)
    return mean, np.float32(1.0) / np.sqrt(variance + _EPSILON)


@part
def convolve(x: Floats, rows: Rows, count: int, weight: Floats, layer: int, recent: Floats) -> None:
    """x[t] += sum over tap of weight[tap] * x[t - 1 - tap], the earlier ones from `recent`, which is brought up to
    date (`model/convolution.py`). weight (L, taps, channels); without taps nothing is added."""
    _, taps, channels = weight.shape
    for row in range(count if taps > 0 else 0):
        slot, position = rows.slot[row], rows.position[row]
        for i in range(0, channels, LANES):
            now = load(x, (row, i))
            y = now
            for tap in range(min(taps, position)):
                earlier = load(recent, (slot, layer, (position - 1 - tap) % taps, i))
                y = multiply_add(load(weight, (layer, tap, i)), earlier, y)
            store(x, (row, i), y)
            store(recent, (slot, layer, position % taps, i), now)


@part
def prepare(
    projected: Floats,
    row: int,
    head: int,
    gain: Floats,
    layer: int,
    normed_width: int,
    cosine: Floats,
    sine: Floats,
    position: int,
) -> None:
    """Bring a head of a query or a key into the form whose products are scores: normalised if `normed_width` is not 0,
    scaled, turned by its position, dimension i with dimension i + D / 2 (`model/positions.py`), if there are angles."""
    width = gain.shape[2]
    start, half = head * width, width // 2
    mean, inverse = np.float32(0.0), np.float32(1.0)
    if normed_width > 0:
        mean, inverse = mean_and_inverse_deviation(projected, row, start, width, normed_width)
    for i in range(0, half, LANES):
        a = (load(projected, (row, start + i)) - mean) * inverse * load(gain, (layer, head, i))
        b = (load(projected, (row, start + half + i)) - mean) * inverse * load(gain, (layer, head, half + i))
        if len(cosine) > 0:
            c, s = load(cosine, (position, i)), load(sine, (position, i))
            a, b = a * c - b * s, b * c + a * s
        store(projected, (row, start + i), a)
        store(projected, (row, start + half + i), b)


@part
def keep_key(projected: Floats, row: int, start: int, keys: Any, slot: int, layer: int, head: int, at: int) -> None:
    width = keys.shape[4]
    for i in range(width):
        store_one(keys, (slot, layer, head, at // WIDE, i, at % WIDE), projected[row, start * width + i])


@part
def keep_value(projected: Floats, row: int, start: int, values: Any, slot: int, layer: int, head: int, at: int) -> None:
    """The first of four positions clears the others: `average` reads all four, and 0 times what a sequence before this
    one left there may be NaN."""
    width = values.shape[4]
    for i in range(0, width, LANES):
        store(values, (slot, layer, head, at, i), load(projected, (row, start * width + i)))
    if at % 4 == 0:
        for after in range(at + 1, at + 4):
            for i in range(0, width, LANES):
                store(values, (slot, layer, head, after, i), splat(np.float32(0.0)))


@part
def match(
    projected: Floats, row: int, keys: Any, slot: int, layer: int, head: int, position: int, scores: Floats
) -> None:
    """scores[s] = query . keys[s], for every s up to `position`, 64 at a time."""
    width = keys.shape[4]
    for block in range(position // WIDE + 1):
        sums = splat4(np.float32(0.0))
        for i in range(width):
            sums = multiply_add4(projected[row, head * width + i], load4(keys, (slot, layer, head, block, i, 0)), sums)
        store4(scores, (block * WIDE,), sums)


@part
def average(
    weights: Floats,
    sum_of_weights: float,
    values: Any,
    slot: int,
    layer: int,
    head: int,
    position: int,
    attended: Floats,
    row: int,
) -> None:
    """The mean of the values up to `position`, in four sums: each addition would have to wait for the one before."""
    width = values.shape[4]
    for i in range(0, width, LANES):
        sums0 = sums1 = sums2 = sums3 = splat(np.float32(0.0))
        for s in range(0, position + 1, 4):
            sums0 = multiply_add(weights[s], load(values, (slot, layer, head, s, i)), sums0)
            sums1 = multiply_add(weights[s + 1], load(values, (slot, layer, head, s + 1, i)), sums1)
            sums2 = multiply_add(weights[s + 2], load(values, (slot, layer, head, s + 2, i)), sums2)
            sums3 = multiply_add(weights[s + 3], load(values, (slot, layer, head, s + 3, i)), sums3)
        store(attended, (row, head * width + i), ((sums0 + sums1) + (sums2 + sums3)) / sum_of_weights)


@part
def exponentiate(scores: Floats, count: int) -> Any:
    """Replace `count` scores by exp(score - the largest), those after them up to a multiple of 16 by 0; the sum."""
    padded = (count + LANES - 1) // LANES * LANES
    for i in range(count, padded):
        scores[i] = np.float32(-np.inf)
    most = load(scores, (0,))
    for i in range(LANES, padded, LANES):
        most = maximum(most, load(scores, (i,)))
    peak = largest(most)
    for i in range(0, padded, LANES):
        store(scores, (i,), exp(load(scores, (i,)) - peak))
    for i in range(count, padded):
        scores[i] = np.float32(0.0)
    sums = splat(np.float32(0.0))
    for i in range(0, padded, LANES):
        sums = sums + load(scores, (i,))
    return total(sums)


@part
def gelu(x: Floats, count: int) -> None:
    """x times the probability that a standard normal number is below x (Hendrycks & Gimpel, 2016)."""
    for row in range(count):
        for i in range(0, x.shape[1], LANES):
            a = load(x, (row, i))
            store(x, (row, i), a * np.float32(0.5) * (erf(a * np.float32(0.7071067811865476)) + np.float32(1.0)))


@part
def add(x: Floats, y: Floats, count: int) -> None:
    """x += y"""
    for row in range(count):
        for i in range(0, x.shape[1], LANES):
            store(x, (row, i), load(x, (row, i)) + load(y, (row, i)))
