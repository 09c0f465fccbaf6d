"""Kernels of a training step on a CPU: what is no matrix product, each part in one compiled pass over memory.

In torch, every addition and every product reads and writes a whole tensor. In a network this small, that takes longer
than the arithmetic. Here a row stays in the processor's cache from the first operation on it to the last, as in
FlashAttention (Dao et al., 2022). Backward passes compute again what is cheap to compute, instead of storing it.

`ops/` makes these kernels differentiable and says what they compute, in torch. The kernels of the n-gram table are in
`table_kernels.py`.

Formats: a model computes in bf16 or fp32, and arrays are in its format unless their description says otherwise. A bf16
number is stored as a uint16, the upper half of the fp32 number with the same value. Sums are in fp32.
Sixteen numbers are handled at once (`compiled/lanes.py`), so widths are multiples of 16, and a head's of 32.
A kernel runs on one thread, without Python's lock, and is compiled on first use, in a fraction of a second.
Shapes: B batch, T time, C width, H heads, D = C / H, K taps.
"""

import numpy as np

from tinygpt.compiled.functions import softmax_weight
from tinygpt.compiled.jit import kernel, part
from tinygpt.compiled.lanes import LANES, largest, load, maximum, multiply_add, splat, store, total
from tinygpt.compiled.layers import convolved, mean_and_inverse_deviation, rotated

_BELOW_ANY_SCORE = np.float32(-np.inf)


# -- layer norm, and a short convolution after it


@kernel
def norm_convolution(x, gain, bias, taps, y):  # type: ignore[no-untyped-def]
    """x (B, T, C), fp32 gain and bias (C,) and taps (K, C), to y (B, T, C)."""
    batch, time, width = x.shape
    row, normed = np.empty(width, np.float32), np.empty((time, width), np.float32)
    for b in range(batch):
        for t in range(time):
            for c in range(0, width, LANES):
                store(row, (c,), load(x, (b, t, c)))
            mean, factor = mean_and_inverse_deviation(row, (), 0, width, width)
            for c in range(0, width, LANES):
                now = multiply_add((load(row, (c,)) - mean) * factor, load(gain, (c,)), load(bias, (c,)))
                store(normed, (t, c), now)
                store(y, (b, t, c), convolved(now, taps, (), normed, (), t - 1, min(len(taps), t), c))


@kernel
def norm_convolution_backward(dy, x, gain, bias, taps, dx, d_gain, d_bias, d_taps):  # type: ignore[no-untyped-def]
    """Gradients of `norm_convolution`: writes dx, adds to the fp32 d_gain, d_bias and d_taps."""
    batch, time, width = x.shape
    row, d_row = np.empty(width, np.float32), np.empty(width, np.float32)
    d_convolved = np.zeros((time + len(taps), width), np.float32)
    for b in range(batch):
        for t in range(time - 1, -1, -1):
            for c in range(0, width, LANES):
                store(row, (c,), load(x, (b, t, c)))
            mean, factor = mean_and_inverse_deviation(row, (), 0, width, width)
            sums = along = splat(np.float32(0))
            for c in range(0, width, LANES):
                normalised = (load(row, (c,)) - mean) * factor
                store(row, (c,), normalised)
                normed = multiply_add(normalised, load(gain, (c,)), load(bias, (c,)))
                d_normed = load(dy, (b, t, c))
                store(d_convolved, (t, c), d_normed)
                for i in range(len(taps)):
                    after = load(d_convolved, (t + 1 + i, c))
                    d_normed = multiply_add(load(taps, (i, c)), after, d_normed)
                    store(d_taps, (i, c), multiply_add(normed, after, load(d_taps, (i, c))))
                store(d_bias, (c,), load(d_bias, (c,)) + d_normed)
                store(d_gain, (c,), multiply_add(d_normed, normalised, load(d_gain, (c,))))
                d_normalised = d_normed * load(gain, (c,))
                store(d_row, (c,), d_normalised)
                sums = sums + d_normalised
                along = multiply_add(d_normalised, normalised, along)
            mean, slope = total(sums) / np.float32(width), total(along) / np.float32(width)
            for c in range(0, width, LANES):
                store(dx, (b, t, c), (load(d_row, (c,)) - mean - load(row, (c,)) * slope) * factor)


# -- queries, keys and values


@part
def _convolve(projected, taps, b, t, row):  # type: ignore[no-untyped-def]
    """row = projected[b, t] after the convolution."""
    for c in range(0, len(row), LANES):
        now = load(projected, (b, t, c))
        store(row, (c,), convolved(now, taps, (), projected, (b,), t - 1, min(len(taps), t), c))


@part
def _rotate(row, start, mean, factor, cosine, sine, into, b, h, t):  # type: ignore[no-untyped-def]
    """into[b, h, t] = the head at row[start], normalised and rotated."""
    half = into.shape[3] // 2
    for i in range(0, half, LANES):
        first = (load(row, (start + i,)) - mean) * factor
        second = (load(row, (start + half + i,)) - mean) * factor
        first, second = rotated(first, second, load(cosine, (t, i)), load(sine, (t, half + i)), True)
        store(into, (b, h, t, i), first)
        store(into, (b, h, t, half + i), second)


@part
def _rotate_back(d_rotated, b, h, t, cosine, sine, row, start):  # type: ignore[no-untyped-def]
    """The head at row[start] = the gradient before the rotation, given d_rotated[b, h, t], the one after it."""
    half = d_rotated.shape[3] // 2
    for i in range(0, half, LANES):
        first, second = load(d_rotated, (b, h, t, i)), load(d_rotated, (b, h, t, half + i))
        first, second = rotated(first, second, load(cosine, (t, i)), load(sine, (t, i)), True)
        store(row, (start + i,), first)
        store(row, (start + half + i,), second)


@kernel
def heads(projected, taps, cosine, sine, scale, q, k, v):  # type: ignore[no-untyped-def]
    """projected (B, T, 3 C) with fp32 taps (K, 3 C), cosine and sine (T, D) and scale (H,) to q, k, v (B, H, T, D)."""
    batch, number, time, width = q.shape
    row = np.empty(projected.shape[2], np.float32)
    for b in range(batch):
        for t in range(time):
            _convolve(projected, taps, b, t, row)
            for h in range(number):
                mean, factor = mean_and_inverse_deviation(row, (), h * width, width, width)
                _rotate(row, h * width, mean, factor * scale[h], cosine, sine, q, b, h, t)
                start = (number + h) * width
                mean, factor = mean_and_inverse_deviation(row, (), start, width, width)
                _rotate(row, start, mean, factor, cosine, sine, k, b, h, t)
                start = (2 * number + h) * width
                for i in range(0, width, LANES):
                    store(v, (b, h, t, i), load(row, (start + i,)))


@part
def _normalise_backward(row, d_row, start, width, mean, factor, scale):  # type: ignore[no-untyped-def]
    """Gradient of a head's normalisation, times `scale`: of the head at row[start], in place in `d_row`.

    Returns the gradient of `scale`.
    """
    sums = along = splat(np.float32(0))
    for c in range(start, start + width, LANES):
        given = load(d_row, (c,))
        sums = sums + given
        along = multiply_add(given, (load(row, (c,)) - mean) * factor, along)
    d_scale = total(along)
    middle, slope = total(sums) / np.float32(width), d_scale / np.float32(width)
    for c in range(start, start + width, LANES):
        normalised = (load(row, (c,)) - mean) * factor
        store(d_row, (c,), (load(d_row, (c,)) - middle - normalised * slope) * (factor * scale))
    return d_scale


@kernel
def heads_backward(dq, dk, dv, projected, taps, cosine, sine, scale, d_projected, d_taps, d_scale):  # type: ignore[no-untyped-def]
    """Gradients of `heads`: writes d_projected, adds to the fp32 d_taps and d_scale."""
    batch, number, time, width = dq.shape
    channels = projected.shape[2]
    row, now = np.empty(channels, np.float32), np.empty(channels, np.float32)
    d_convolved = np.zeros((time + len(taps), channels), np.float32)
    for b in range(batch):
        for t in range(time - 1, -1, -1):
            _convolve(projected, taps, b, t, row)
            for h in range(number):
                start = h * width
                _rotate_back(dq, b, h, t, cosine, sine, now, start)
                mean, factor = mean_and_inverse_deviation(row, (), start, width, width)
                d_scale[h] += _normalise_backward(row, now, start, width, mean, factor, scale[h])
                start = (number + h) * width
                _rotate_back(dk, b, h, t, cosine, sine, now, start)
                mean, factor = mean_and_inverse_deviation(row, (), start, width, width)
                _normalise_backward(row, now, start, width, mean, factor, np.float32(1))
                start = (2 * number + h) * width
                for i in range(0, width, LANES):
                    store(now, (start + i,), load(dv, (b, h, t, i)))
            for c in range(0, channels, LANES):
                d_input, input_ = load(now, (c,)), load(projected, (b, t, c))
                store(d_convolved, (t, c), d_input)
                for i in range(len(taps)):
                    after = load(d_convolved, (t + 1 + i, c))
                    d_input = multiply_add(load(taps, (i, c)), after, d_input)
                    store(d_taps, (i, c), multiply_add(input_, after, load(d_taps, (i, c))))
                store(d_projected, (b, t, c), d_input)


# -- attention


@kernel
def causal_softmax(scores):  # type: ignore[no-untyped-def]
    """Softmax of scores (N, T, T), in place: of each row up to the diagonal, and 0 after it. T is a multiple of 16."""
    number, time, _ = scores.shape
    row = np.empty(time, np.float32)
    unseen = np.zeros((LANES, LANES), np.float32)
    for t in range(LANES):
        unseen[t, t + 1 :] = _BELOW_ANY_SCORE
    for n in range(number):
        for t in range(time):
            last = t // LANES * LANES
            most = load(scores, (n, t, last)) + load(unseen, (t - last, 0))
            store(row, (last,), most)
            for s in range(0, last, LANES):
                score = load(scores, (n, t, s))
                store(row, (s,), score)
                most = maximum(most, score)
            peak = largest(most)
            sums = softmax_weight(load(row, (last,)) - peak)
            store(row, (last,), sums)
            for s in range(0, last, LANES):
                weight = softmax_weight(load(row, (s,)) - peak)
                store(row, (s,), weight)
                sums = sums + weight
            share = np.float32(1) / total(sums)
            for s in range(0, last + LANES, LANES):
                store(scores, (n, t, s), load(row, (s,)) * share)
            for s in range(last + LANES, time, LANES):
                store(scores, (n, t, s), splat(np.float32(0)))


@kernel
def causal_softmax_backward(weights, gradient):  # type: ignore[no-untyped-def]
    """Gradient of `causal_softmax`, in place: from that of its result, `weights`, to that of the scores (N, T, T)."""
    number, time, _ = weights.shape
    for n in range(number):
        for t in range(time):
            seen = t // LANES * LANES + LANES
            sums = splat(np.float32(0))
            for s in range(0, seen, LANES):
                sums = multiply_add(load(weights, (n, t, s)), load(gradient, (n, t, s)), sums)
            along = total(sums)
            for s in range(0, seen, LANES):
                store(gradient, (n, t, s), load(weights, (n, t, s)) * (load(gradient, (n, t, s)) - along))
            for s in range(seen, time, LANES):
                store(gradient, (n, t, s), splat(np.float32(0)))
