"""Parts of a training step on a CPU that are no matrix product, each in one compiled pass over memory.

Step by step in torch, every addition and every product reads and writes all of its tensor, and at this size a step is
made of those, not of arithmetic. Here a row stays in the processor's cache from the first operation on it to the last,
as in FlashAttention (Dao et al., 2022). Backward passes compute again what is cheap to compute, instead of keeping it.
`ops/` makes the kernels differentiable and has what each of them computes in torch.

Sixteen numbers are handled at once (`lanes.py`), so widths are multiples of 16, those of a head of 32. A model computes
in bf16 or in fp32; arrays are in its format but where another is said. A bf16 number is the upper half of the fp32
number of the same value: arrays hold it as uint16. Sums are in fp32.
Kernels run on one thread, without Python's lock, and compile on first use, in a fraction of a second each.
Shapes: B batch, T time, C width, H heads, D = C / H, K taps.
"""

import numpy as np

from tinygpt.compiled.functions import softmax_weight
from tinygpt.compiled.jit import kernel, part
from tinygpt.compiled.lanes import LANES, largest, load, maximum, multiply_add, splat, store, total
from tinygpt.model.ngram_hashes import HASH_MULTIPLIER

_EPSILON = np.float32(1e-5)
_BELOW_ANY_SCORE = np.float32(-np.inf)


# -- layer norm, and a short convolution after it


@part
def _mean_and_factor(row, start, width):  # type: ignore[no-untyped-def]
    """Of `width` numbers of the fp32 `row` from `start` on: their mean, and 1 / their standard deviation."""
    sums = splat(np.float32(0))
    for c in range(start, start + width, LANES):
        sums = sums + load(row, (c,))
    mean = total(sums) / np.float32(width)
    squares = splat(np.float32(0))
    for c in range(start, start + width, LANES):
        off = load(row, (c,)) - mean
        squares = multiply_add(off, off, squares)
    return mean, np.float32(1) / np.sqrt(total(squares) / np.float32(width) + _EPSILON)


@kernel
def norm_convolution(x, gain, offset, taps, y):  # type: ignore[no-untyped-def]
    """x (B, T, C), fp32 gain and offset (C,) and taps (K, C), to y (B, T, C)."""
    batch, time, width = x.shape
    row, normed = np.empty(width, np.float32), np.zeros((len(taps) + time, width), np.float32)
    for b in range(batch):
        for t in range(time):
            for c in range(0, width, LANES):
                store(row, (c,), load(x, (b, t, c)))
            mean, factor = _mean_and_factor(row, 0, width)
            for c in range(0, width, LANES):
                convolved = multiply_add((load(row, (c,)) - mean) * factor, load(gain, (c,)), load(offset, (c,)))
                store(normed, (len(taps) + t, c), convolved)
                for i in range(len(taps)):
                    before = load(normed, (len(taps) + t - 1 - i, c))
                    convolved = multiply_add(load(taps, (i, c)), before, convolved)
                store(y, (b, t, c), convolved)


@kernel
def norm_convolution_backward(dy, x, gain, offset, taps, dx, d_gain, d_offset, d_taps):  # type: ignore[no-untyped-def]
    """The gradients of `norm_convolution`: dx is written, the fp32 ones are added to."""
    batch, time, width = x.shape
    row, d_row = np.empty(width, np.float32), np.empty(width, np.float32)
    d_convolved = np.zeros((time + len(taps), width), np.float32)
    for b in range(batch):
        for t in range(time - 1, -1, -1):
            for c in range(0, width, LANES):
                store(row, (c,), load(x, (b, t, c)))
            mean, factor = _mean_and_factor(row, 0, width)
            sums = along = splat(np.float32(0))
            for c in range(0, width, LANES):
                normalised = (load(row, (c,)) - mean) * factor
                store(row, (c,), normalised)
                normed = multiply_add(normalised, load(gain, (c,)), load(offset, (c,)))
                d_normed = load(dy, (b, t, c))
                store(d_convolved, (t, c), d_normed)
                for i in range(len(taps)):
                    after = load(d_convolved, (t + 1 + i, c))
                    d_normed = multiply_add(load(taps, (i, c)), after, d_normed)
                    store(d_taps, (i, c), multiply_add(normed, after, load(d_taps, (i, c))))
                store(d_offset, (c,), load(d_offset, (c,)) + d_normed)
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
    for c in range(0, len(row), LANES):
        convolved = load(projected, (b, t, c))
        for i in range(min(len(taps), t)):
            convolved = multiply_add(load(taps, (i, c)), load(projected, (b, t - 1 - i, c)), convolved)
        store(row, (c,), convolved)


@part
def _turn(row, start, mean, factor, cosine, sine, turned, b, h, t):  # type: ignore[no-untyped-def]
    """turned[b, h, t] = `rotate` of the part of `row` from `start` on, normalised."""
    half = turned.shape[3] // 2
    for i in range(0, half, LANES):
        first = (load(row, (start + i,)) - mean) * factor
        second = (load(row, (start + half + i,)) - mean) * factor
        store(turned, (b, h, t, i), multiply_add(first, load(cosine, (t, i)), second * load(sine, (t, i))))
        store(
            turned,
            (b, h, t, half + i),
            multiply_add(second, load(cosine, (t, half + i)), first * load(sine, (t, half + i))),
        )


@part
def _turn_back(d_turned, b, h, t, cosine, sine, row, start):  # type: ignore[no-untyped-def]
    """The part of `row` from `start` on = the gradient by what was turned, of that by what came of it."""
    half = d_turned.shape[3] // 2
    for i in range(0, half, LANES):
        first, second = load(d_turned, (b, h, t, i)), load(d_turned, (b, h, t, half + i))
        store(row, (start + i,), multiply_add(first, load(cosine, (t, i)), second * load(sine, (t, half + i))))
        store(
            row,
            (start + half + i,),
            multiply_add(second, load(cosine, (t, half + i)), first * load(sine, (t, i))),
        )


@kernel
def heads(projected, taps, cosine, sine, scale, q, k, v):  # type: ignore[no-untyped-def]
    """projected (B, T, 3 C), fp32 taps (K, 3 C), cosine and sine (T, D) and scale (H,), to q, k, v
    (B, H, T, D)."""
    batch, number, time, width = q.shape
    row = np.empty(projected.shape[2], np.float32)
    for b in range(batch):
        for t in range(time):
            _convolve(projected, taps, b, t, row)
            for h in range(number):
                mean, factor = _mean_and_factor(row, h * width, width)
                _turn(row, h * width, mean, factor * scale[h], cosine, sine, q, b, h, t)
                start = (number + h) * width
                mean, factor = _mean_and_factor(row, start, width)
                _turn(row, start, mean, factor, cosine, sine, k, b, h, t)
                start = (2 * number + h) * width
                for i in range(0, width, LANES):
                    store(v, (b, h, t, i), load(row, (start + i,)))


@part
def _normalise_backward(row, d_row, start, width, mean, factor, scale):  # type: ignore[no-untyped-def]
    """`d_row`, by the part of `row` from `start` on, normalised and times `scale`, becomes that by the part itself.
    Returns the gradient by `scale`."""
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
    """The gradients of `heads`: d_projected is written, the fp32 ones are added to."""
    batch, number, time, width = dq.shape
    channels = projected.shape[2]
    row, now = np.empty(channels, np.float32), np.empty(channels, np.float32)
    d_convolved = np.zeros((time + len(taps), channels), np.float32)
    for b in range(batch):
        for t in range(time - 1, -1, -1):
            _convolve(projected, taps, b, t, row)
            for h in range(number):
                start = h * width
                _turn_back(dq, b, h, t, cosine, sine, now, start)
                mean, factor = _mean_and_factor(row, start, width)
                d_scale[h] += _normalise_backward(row, now, start, width, mean, factor, scale[h])
                start = (number + h) * width
                _turn_back(dk, b, h, t, cosine, sine, now, start)
                mean, factor = _mean_and_factor(row, start, width)
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
    """Of scores (N, T, T), T a multiple of 16, each row becomes the softmax of what it sees, up to the diagonal, and 0
    beyond."""
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
    """`gradient` (N, T, T) by the `weights` that `causal_softmax` made becomes that by the scores."""
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


# -- a table of which a step uses few rows


@part
def find_ngram(hashed, places, hashes):  # type: ignore[no-untyped-def]
    """The row of an n-gram in the table, -1 if it is not known: the places are searched as `hash_table` filled
    them."""
    place = (hashed ^ (hashed >> 17)) & (len(places) - 1)
    while places[place] >= 0 and hashes[places[place]] != hashed:
        place = (place + 1) & (len(places) - 1)
    return places[place]


@kernel
def find_ngrams(ids, sizes, places, hashes, rows, starts):  # type: ignore[no-untyped-def]
    """The known n-grams that end at each of the N = B * T positions of int64 ids (B, T): their rows in the table are
    int64 `rows`, from starts[n] to starts[n + 1]. Returns starts[N]."""
    batch, time = ids.shape
    count = 0
    for b in range(batch):
        for t in range(time):
            starts[b * time + t] = count
            hashed, n = np.int64(0), 0
            for size in sizes:
                while n < size:
                    token = ids[b, t - n] if n <= t else 0
                    hashed = hashed * HASH_MULTIPLIER + token + 1
                    n += 1
                row = find_ngram(hashed, places, hashes)
                if row >= 0:
                    rows[count] = row
                    count += 1
    starts[batch * time] = count
    return count


@kernel
def sum_of_rows(table, rows, starts, y):  # type: ignore[no-untyped-def]
    """y (N, C), each the sum of some rows of the fp32 `table`: those that `rows` names from starts[n] to
    starts[n + 1]."""
    for n in range(len(y)):
        for c in range(0, table.shape[1], LANES):
            sums = splat(np.float32(0))
            for i in range(starts[n], starts[n + 1]):
                sums = sums + load(table, (rows[i], c))
            store(y, (n, c), sums)


@kernel
def sum_by_row(values, rows, starts, place, unique, sums):  # type: ignore[no-untyped-def]
    """For every different row, the sum of the `values` (N, C) that belong to it: to those that `rows` names from
    starts[n] to starts[n + 1], all of values[n]. So the gradient of `sum_of_rows`.

    Returns how many different rows there are; `unique` and the fp32 `sums` are then filled so far. `place` (rows of the
    table,) is for the kernel's own use: -1 before and after."""
    count = 0
    for n in range(len(values)):
        for i in range(starts[n], starts[n + 1]):
            at = place[rows[i]]
            if at < 0:
                at = place[rows[i]] = count
                unique[count] = rows[i]
                for c in range(0, values.shape[1], LANES):
                    store(sums, (count, c), load(values, (n, c)))
                count += 1
            else:
                for c in range(0, values.shape[1], LANES):
                    store(sums, (at, c), load(sums, (at, c)) + load(values, (n, c)))
    for i in range(count):
        place[unique[i]] = -1
    return count


@kernel
def adagrad_rows(rows, gradient, squares, table, learning_rate):  # type: ignore[no-untyped-def]
    """A step of row-wise Adagrad on different `rows` (N,) with fp32 `gradient` (N, C)."""
    width = table.shape[1]
    for n in range(len(rows)):
        square = splat(np.float32(0))
        for c in range(0, width, LANES):
            square = multiply_add(load(gradient, (n, c)), load(gradient, (n, c)), square)
        squares[rows[n]] += total(square) / np.float32(width)
        factor = -learning_rate / (np.sqrt(squares[rows[n]]) + np.float32(1e-12))
        for c in range(0, width, LANES):
            store(table, (rows[n], c), multiply_add(factor, load(gradient, (n, c)), load(table, (rows[n], c))))
