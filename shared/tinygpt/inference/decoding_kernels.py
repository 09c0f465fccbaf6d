"""The transformer once more, as loops: what `model/` computes with tensors, compiled for decoding on a CPU.

A call handles rows. A row is one token: its slot, its position in the slot's sequence, its id. Rows may be the next
tokens of many sequences (decode) or many tokens of one prompt, in order (prefill). A row's result always comes from the
same operations in the same order, so it does not depend, not even in the last bit, on the other rows.

Shapes: R rows, C width, H heads, D head width, L layers, V vocabulary. Each width is rounded up as in
`packed_weights.py`, and filled with zeros.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygpt.compiled.functions import erf
from tinygpt.compiled.jit import inlined, kernel_of_parts, part
from tinygpt.compiled.lanes import LANES, load, multiply_add, store
from tinygpt.compiled.layers import convolved, mean_and_inverse_deviation, rotated
from tinygpt.compiled.ngrams import find_hash, hash_of_last
from tinygpt.inference.attention_kernels import Cache, QuantisedCache, attend, keep
from tinygpt.inference.linear_kernels import QuantisedRows, linear
from tinygpt.inference.packed_weights import Norm, Weights

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]


class Sequences(NamedTuple):
    """What S slots of capacity T keep of their sequences."""

    ids: Integers
    """(S, T)"""
    cache: Cache | QuantisedCache
    recent_projected: Floats
    """(S, L, taps, 3 H D): the last inputs of the convolution before attention. Position p is at p modulo taps."""
    recent_normed: Floats
    """(S, MLPs, taps, C): the same of the convolution before the MLP."""


class Rows(NamedTuple):
    """The rows of a call, and room for what is computed from them."""

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
    """(T,): scores of one query."""
    quantised: QuantisedRows
    """For layers, keys and values in int8."""


@kernel_of_parts
def forward(weights: Weights, sequences: Sequences, rows: Rows, count: int) -> None:
    """Read the tokens of the first `count` rows: keep their keys and values, leave the stream in `rows.x`."""
    embed(weights, sequences.ids, rows, count)
    without_mlp = len(weights.head_gain) - len(weights.expand.bias)
    for layer in range(len(weights.head_gain)):
        attention(weights, sequences, rows, count, layer)
        if layer >= without_mlp:
            mlp(weights, sequences, rows, count, layer - without_mlp)


@kernel_of_parts
def compute_logits(weights: Weights, rows: Rows, count: int) -> None:
    """Turn the stream into logits over each row's next token, in `rows.logits`."""
    layer_norm(rows.x, count, weights.final_norm, 0, weights.width, rows.normed)
    linear(weights.head, 0, rows.normed, count, rows.logits, rows.quantised)


@inlined
def embed(weights: Weights, ids: Integers, rows: Rows, count: int) -> None:
    """x = the token's embedding, plus its position's if positions are learned, plus those of its n-grams."""
    for row in range(count):
        slot, position = rows.slot[row], rows.position[row]
        copy_row(weights.token_embedding, ids[slot, position], rows.x, row)
        if len(weights.position_embedding) > 0:
            add_row(weights.position_embedding, position, rows.x, row)
        hashed, known = np.int64(0), 0
        for size in weights.ngram_sizes:
            hashed = hash_of_last(size, ids, slot, position, known, hashed)
            known = size
            ngram = find_hash(hashed, weights.ngram_places, weights.ngram_hashes)
            if ngram >= 0:
                add_row(weights.ngram_table, ngram, rows.x, row)


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
    linear(weights.query_key_value, layer, rows.normed, count, rows.projected, rows.quantised)
    convolve(rows.projected, rows, count, weights.projected_convolution, layer, sequences.recent_projected)
    heads = weights.head_gain.shape[1] // 2
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
        keep(sequences.cache, rows.projected, row, slot, layer, position, rows.quantised)
    for row in range(count):
        slot, position = rows.slot[row], rows.position[row]
        attend(sequences.cache, rows.projected, row, slot, layer, position, rows.scores, rows.attended, rows.quantised)
    linear(weights.attention_output, layer, rows.attended, count, rows.added, rows.quantised)
    add(rows.x, rows.added, count)


@inlined
def mlp(weights: Weights, sequences: Sequences, rows: Rows, count: int, layer: int) -> None:
    """Normalise, expand, GELU, contract, add to the stream. `layer` counts only layers with an MLP."""
    layer_norm(rows.x, count, weights.mlp_norm, layer, weights.width, rows.normed)
    convolve(rows.normed, rows, count, weights.normed_convolution, layer, sequences.recent_normed)
    linear(weights.expand, layer, rows.normed, count, rows.hidden, rows.quantised)
    gelu(rows.hidden, count)
    linear(weights.contract, layer, rows.hidden, count, rows.added, rows.quantised)
    add(rows.x, rows.added, count)


@part
def layer_norm(x: Floats, count: int, norm: Norm, layer: int, width: int, y: Floats) -> None:
    """y = (x - mean) / standard deviation * gain + bias (Ba et al., 2016)."""
    for row in range(count):
        mean, inverse = mean_and_inverse_deviation(x, (row,), 0, norm.gain.shape[1], width)
        for i in range(0, norm.gain.shape[1], LANES):
            normed = (load(x, (row, i)) - mean) * inverse
            store(y, (row, i), multiply_add(normed, load(norm.gain, (layer, i)), load(norm.bias, (layer, i))))


@part
def convolve(x: Floats, rows: Rows, count: int, weight: Floats, layer: int, recent: Floats) -> None:
    """x[t] += sum over tap of weight[tap] * x[t - 1 - tap] (`model/convolution.py`).

    Earlier inputs come from `recent`, which is updated. weight is (L, taps, channels); without taps nothing is added.
    """
    _, taps, channels = weight.shape
    for row in range(count if taps > 0 else 0):
        slot, position = rows.slot[row], rows.position[row]
        last, count_of_taps = (position - 1) % taps, min(taps, position)
        for i in range(0, channels, LANES):
            now = load(x, (row, i))
            y = convolved(now, weight, (layer,), recent, (slot, layer), last, count_of_taps, i)
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
    """Prepare a head of a query or a key, so that products of both are scores.

    It is normalised if `normed_width` is not 0, scaled by `gain`, and if there are angles rotated by its position:
    dimension i with dimension i + D / 2 (`model/positions.py`).
    """
    width = gain.shape[2]
    start, half = head * width, width // 2
    mean, inverse = np.float32(0.0), np.float32(1.0)
    if normed_width > 0:
        mean, inverse = mean_and_inverse_deviation(projected, (row,), start, width, normed_width)
    for i in range(0, half, LANES):
        a = (load(projected, (row, start + i)) - mean) * inverse * load(gain, (layer, head, i))
        b = (load(projected, (row, start + half + i)) - mean) * inverse * load(gain, (layer, head, half + i))
        if len(cosine) > 0:
            c, s = load(cosine, (position, i)), load(sine, (position, i))
            a, b = rotated(a, b, c, s, False)
        store(projected, (row, start + i), a)
        store(projected, (row, start + half + i), b)


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
