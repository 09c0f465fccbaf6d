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

from tinygpt.inference.jit import jit
from tinygpt.inference.lanes import (
    LANES,
    WIDE,
    absolute,
    copy_sign,
    largest,
    load,
    load4,
    maximum,
    multiply_add,
    multiply_add4,
    nearest_integer,
    power_of_two,
    splat,
    splat4,
    store,
    store4,
    total,
)
from tinygpt.inference.packed_weights import Linear, Norm, Weights

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]
_HASH_MULTIPLIER = 1_000_003
_EPSILON = np.float32(1e-5)
_LOG2_E = np.float32(1.4426950408889634)
_LN_2_HIGH = np.float32(0.693359375)
_LN_2_LOW = np.float32(-2.12194440e-4)


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
    """(S, L, taps, C): of the one before the MLP."""


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


@jit
def forward(weights: Weights, sequences: Sequences, rows: Rows, count: int) -> None:
    """Read the first `count` rows' tokens: their keys and values are kept, the stream is left in `rows.x`."""
    embed(weights, sequences, rows, count)
    for layer in range(len(weights.query_scale)):
        attention(weights, sequences, rows, count, layer)
        mlp(weights, sequences, rows, count, layer)


@jit
def compute_logits(weights: Weights, rows: Rows, count: int) -> None:
    """From the stream to logits over each row's next token, in `rows.logits`."""
    layer_norm(rows.x, count, weights.final_norm, 0, weights.width, rows.normed)
    linear(rows.normed, count, weights.head, 0, rows.logits)


@jit
def embed(weights: Weights, sequences: Sequences, rows: Rows, count: int) -> None:
    """The sum of a token's embedding, its position's where positions are learned, and its n-grams'."""
    for row in range(count):
        slot, position = rows.slot[row], rows.position[row]
        token = sequences.ids[slot, position]
        for i in range(0, rows.x.shape[1], LANES):
            x = load(weights.token_embedding, (token, i))
            if weights.position_embedding.shape[0] > 0:
                x = x + load(weights.position_embedding, (position, i))
            store(rows.x, (row, i), x)
        if len(weights.ngram_sizes) > 0:
            add_ngrams(weights, sequences, rows, row)


@jit
def add_ngrams(weights: Weights, sequences: Sequences, rows: Rows, row: int) -> None:
    """For every size n, the row of the table that the last n ids are hashed to; what precedes the text is 0."""
    slot, position = rows.slot[row], rows.position[row]
    hashed = np.int64(0)
    n = 0
    for size in weights.ngram_sizes:
        while n < size:
            token = sequences.ids[slot, position - n] if position >= n else 0
            hashed = hashed * _HASH_MULTIPLIER + token + 1
            n += 1
        bucket = (hashed ^ (hashed >> 17)) % weights.ngram_table.shape[0]
        for i in range(0, rows.x.shape[1], LANES):
            store(rows.x, (row, i), load(rows.x, (row, i)) + load(weights.ngram_table, (bucket, i)))


@jit
def attention(weights: Weights, sequences: Sequences, rows: Rows, count: int, layer: int) -> None:
    """Normalise, project to queries, keys and values, attend, project back, add to the stream."""
    layer_norm(rows.x, count, weights.attention_norm, layer, weights.width, rows.normed)
    linear(rows.normed, count, weights.query_key_value, layer, rows.projected)
    convolve(rows.projected, rows, count, weights.projected_convolution, layer, sequences.recent_projected)
    for row in range(count):
        prepare_heads(weights, rows, row, layer)
        keep_keys_and_values(sequences, rows, row, layer)
    for row in range(count):
        for head in range(sequences.values.shape[2]):
            attend(sequences, rows, row, layer, head)
    linear(rows.attended, count, weights.attention_output, layer, rows.added)
    add(rows.x, rows.added, count)


@jit
def mlp(weights: Weights, sequences: Sequences, rows: Rows, count: int, layer: int) -> None:
    """Normalise, widen, GELU, narrow, add to the stream."""
    layer_norm(rows.x, count, weights.mlp_norm, layer, weights.width, rows.normed)
    convolve(rows.normed, rows, count, weights.normed_convolution, layer, sequences.recent_normed)
    linear(rows.normed, count, weights.expand, layer, rows.hidden)
    for row in range(count):
        for i in range(0, rows.hidden.shape[1], LANES):
            store(rows.hidden, (row, i), gelu(load(rows.hidden, (row, i))))
    linear(rows.hidden, count, weights.contract, layer, rows.added)
    add(rows.x, rows.added, count)


@jit
def linear(x: Floats, count: int, weights: Linear, layer: int, y: Floats) -> None:
    """y = x @ weight.T * scale + bias, 64 outputs at a time, and of four rows so that each weight is loaded once for
    the four: their sums, 16 `Lanes`, stay in registers."""
    for group in range(weights.weight.shape[1]):
        row = 0
        while row + 4 <= count:
            four_products(x, row, weights, layer, group, y)
            row += 4
        while row < count:
            product(x, row, weights, layer, group, y)
            row += 1


@jit
def product(x: Floats, row: int, weights: Linear, layer: int, group: int, y: Floats) -> None:
    sums = splat4(np.float32(0.0))
    for i in range(weights.weight.shape[2]):
        sums = multiply_add4(x[row, i], load4(weights.weight, (layer, group, i, 0)), sums)
    finish(sums, row, weights, layer, group, y)


@jit
def four_products(x: Floats, row: int, weights: Linear, layer: int, group: int, y: Floats) -> None:
    sums0 = sums1 = sums2 = sums3 = splat4(np.float32(0.0))
    for i in range(weights.weight.shape[2]):
        weight = load4(weights.weight, (layer, group, i, 0))
        sums0 = multiply_add4(x[row, i], weight, sums0)
        sums1 = multiply_add4(x[row + 1, i], weight, sums1)
        sums2 = multiply_add4(x[row + 2, i], weight, sums2)
        sums3 = multiply_add4(x[row + 3, i], weight, sums3)
    finish(sums0, row, weights, layer, group, y)
    finish(sums1, row + 1, weights, layer, group, y)
    finish(sums2, row + 2, weights, layer, group, y)
    finish(sums3, row + 3, weights, layer, group, y)


@jit
def finish(sums: Any, row: int, weights: Linear, layer: int, group: int, y: Floats) -> None:
    scale = load4(weights.scale, (layer, group * WIDE))
    bias = load4(weights.bias, (layer, group * WIDE))
    store4(y, (row, group * WIDE), multiply_add4(sums, scale, bias))


@jit
def layer_norm(x: Floats, count: int, norm: Norm, layer: int, width: int, y: Floats) -> None:
    """y = (x - mean) / standard deviation * gain + bias (Ba et al., 2016)."""
    for row in range(count):
        mean, inverse = mean_and_inverse_deviation(x, row, 0, norm.gain.shape[1], width)
        for i in range(0, norm.gain.shape[1], LANES):
            normed = (load(x, (row, i)) - mean) * inverse
            store(y, (row, i), multiply_add(normed, load(norm.gain, (layer, i)), load(norm.bias, (layer, i))))


@jit
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


@jit
def convolve(x: Floats, rows: Rows, count: int, weight: Floats, layer: int, recent: Floats) -> None:
    """x[t] += sum over tap of weight[tap] * x[t - 1 - tap], the earlier ones from `recent`, which is brought up to
    date (`model/convolution.py`). weight (L, taps, channels); without taps nothing is added."""
    taps = weight.shape[1]
    for row in range(count):
        slot, position = rows.slot[row], rows.position[row]
        for i in range(0, weight.shape[2] if taps > 0 else 0, LANES):
            now = load(x, (row, i))
            y = now
            for tap in range(min(taps, position)):
                earlier = load(recent, (slot, layer, (position - 1 - tap) % taps, i))
                y = multiply_add(load(weight, (layer, tap, i)), earlier, y)
            store(x, (row, i), y)
            store(recent, (slot, layer, position % taps, i), now)


@jit
def prepare_heads(weights: Weights, rows: Rows, row: int, layer: int) -> None:
    """Normalise queries and keys, turn them by their position, scale the queries, as the model is made."""
    padded = rows.attended.shape[1]
    heads = weights.query_scale.shape[1]
    head_padded = padded // heads
    for head in range(2 * heads):  # queries first, then keys
        start = head * head_padded
        if weights.qk_norm:
            mean, inverse = mean_and_inverse_deviation(rows.projected, row, start, head_padded, weights.head_width)
            for i in range(start, start + weights.head_width):
                rows.projected[row, i] = (rows.projected[row, i] - mean) * inverse
        if weights.rotary_cosine.shape[0] > 0:
            rotate(weights, rows, row, start)
        if head < heads:
            for i in range(start, start + weights.head_width):
                rows.projected[row, i] *= weights.query_scale[layer, head]


@jit
def rotate(weights: Weights, rows: Rows, row: int, start: int) -> None:
    """Turn one head by its position's angles: dimension i with dimension i + D / 2 (`model/positions.py`)."""
    position, half = rows.position[row], weights.head_width // 2
    for i in range(half):
        cosine, sine = weights.rotary_cosine[position, i], weights.rotary_sine[position, i]
        a, b = rows.projected[row, start + i], rows.projected[row, start + half + i]
        rows.projected[row, start + i] = a * cosine - b * sine
        rows.projected[row, start + half + i] = b * cosine + a * sine


@jit
def keep_keys_and_values(sequences: Sequences, rows: Rows, row: int, layer: int) -> None:
    slot, position = rows.slot[row], rows.position[row]
    _, _, heads, _, width, _ = sequences.keys.shape
    block, place = position // WIDE, position % WIDE
    for head in range(heads):
        key, value = (heads + head) * width, (2 * heads + head) * width
        for i in range(width):
            sequences.keys[slot, layer, head, block, i, place] = rows.projected[row, key + i]
        for i in range(0, width, LANES):
            store(sequences.values, (slot, layer, head, position, i), load(rows.projected, (row, value + i)))


@jit
def attend(sequences: Sequences, rows: Rows, row: int, layer: int, head: int) -> None:
    """One head's mean of the values up to the row's position, weighted by the softmax of the query's products with
    their keys."""
    slot, position, scores = rows.slot[row], rows.position[row], rows.scores
    width = sequences.values.shape[4]
    query = head * width
    for block in range(position // WIDE + 1):
        sums = splat4(np.float32(0.0))
        for i in range(width):
            sums = multiply_add4(
                rows.projected[row, query + i], load4(sequences.keys, (slot, layer, head, block, i, 0)), sums
            )
        store4(scores, (block * WIDE,), sums)
    sum_of_weights = exponentiate(scores, position + 1)
    for i in range(0, width, LANES):
        sums0 = sums1 = sums2 = sums3 = splat(np.float32(0.0))
        for s in range(0, position + 1, 4):
            sums0 = multiply_add(scores[s], load(sequences.values, (slot, layer, head, s, i)), sums0)
            sums1 = multiply_add(scores[s + 1], load(sequences.values, (slot, layer, head, s + 1, i)), sums1)
            sums2 = multiply_add(scores[s + 2], load(sequences.values, (slot, layer, head, s + 2, i)), sums2)
            sums3 = multiply_add(scores[s + 3], load(sequences.values, (slot, layer, head, s + 3, i)), sums3)
        store(rows.attended, (row, query + i), ((sums0 + sums1) + (sums2 + sums3)) / sum_of_weights)


@jit
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


@jit
def gelu(x: Any) -> Any:
    """x times the probability that a standard normal number is below x (Hendrycks & Gimpel, 2016)."""
    return x * np.float32(0.5) * (erf(x * np.float32(0.7071067811865476)) + np.float32(1.0))


@jit
def erf(x: Any) -> Any:
    """The error function, to 2e-7 (Abramowitz & Stegun, 7.1.26)."""
    size = absolute(x)
    t = np.float32(1.0) / (size * np.float32(0.3275911) + np.float32(1.0))
    series = t * np.float32(1.061405429) + np.float32(-1.453152027)
    series = series * t + np.float32(1.421413741)
    series = series * t + np.float32(-0.284496736)
    series = series * t + np.float32(0.254829592)
    return copy_sign(np.float32(1.0) - series * t * exp(np.float32(0.0) - size * size), x)


@jit
def exp(x: Any) -> Any:
    """e to the power of x, to a bit or two; at least e ** -87. x = n ln 2 + r, and e ** r by its Taylor series."""
    x = maximum(x, splat(np.float32(-87.0)))
    n = nearest_integer(x * _LOG2_E)
    r = x - n * _LN_2_HIGH - n * _LN_2_LOW
    series = r * np.float32(1 / 5040) + np.float32(1 / 720)
    series = series * r + np.float32(1 / 120)
    series = series * r + np.float32(1 / 24)
    series = series * r + np.float32(1 / 6)
    series = series * r + np.float32(1 / 2)
    return (series * r * r + r + np.float32(1.0)) * power_of_two(n)


@jit
def add(x: Floats, y: Floats, count: int) -> None:
    """x += y"""
    for row in range(count):
        for i in range(0, x.shape[1], LANES):
            store(x, (row, i), load(x, (row, i)) + load(y, (row, i)))
