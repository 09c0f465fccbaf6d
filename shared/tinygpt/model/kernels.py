"""The parts of a bf16 training step on a CPU that are no matrix product, each in one compiled pass over memory.

Step by step in torch, every addition and every product reads and writes all of its tensor, and at this size a step is
made of those, not of arithmetic. Here a row stays in the processor's cache from the first operation on it to the last,
as in a fused kernel for a GPU (FlashAttention's idea: Dao et al., 2022). Backward passes compute again what is cheap to
compute, instead of having kept it. `fused.py` makes them differentiable, and says what each computes.

A bf16 number is the upper half of the fp32 number of the same value: arrays hold it as uint16, sums are in fp32.
Kernels run on one thread, without Python's lock, and compile on first use, in a fraction of a second each. Where
nothing can be compiled they are not to be called: it would take minutes.
Shapes: B batch, T time, C width, H heads, D = C / H, K taps.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from tinygpt.compiled.jit import fastmath_kernel, inlined

_EPSILON = np.float32(1e-5)


@inlined
def _widened(number):  # type: ignore[no-untyped-def]
    """bf16 to fp32."""
    return np.uint32(np.uint32(number) << 16).view(np.float32)


@inlined
def _rounded(number):  # type: ignore[no-untyped-def]
    """fp32 to the nearest bf16, the even one of two."""
    bits = np.uint32(np.float32(number).view(np.uint32))
    return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + np.uint32(np.uint32(bits >> 16) & 1)) >> 16)


# -- layer norm, and a short convolution after it


@inlined
def _normalise(row, normalised):  # type: ignore[no-untyped-def]
    """fp32 `normalised` = `row` with mean 0 and variance 1. Returns the factor that it took. `row` may be the same."""
    share = np.float32(1) / np.float32(len(row))
    mean, variance = np.float32(0), np.float32(0)
    for c in range(len(row)):
        mean += row[c]
    mean *= share
    for c in range(len(row)):
        variance += (row[c] - mean) * (row[c] - mean)
    factor = np.float32(1) / np.sqrt(variance * share + _EPSILON)
    for c in range(len(row)):
        normalised[c] = (row[c] - mean) * factor
    return factor


@inlined
def _normalise_backward(gradient, normalised, factor):  # type: ignore[no-untyped-def]
    """`gradient`, by the normalised row, becomes that by the row."""
    share = np.float32(1) / np.float32(len(gradient))
    mean, along = np.float32(0), np.float32(0)
    for c in range(len(gradient)):
        mean += gradient[c]
        along += gradient[c] * normalised[c]
    mean, along = mean * share, along * share
    for c in range(len(gradient)):
        gradient[c] = factor * (gradient[c] - mean - normalised[c] * along)


@fastmath_kernel
def norm_convolution(x, gain, offset, taps, y):  # type: ignore[no-untyped-def]
    """bf16 x (B, T, C), fp32 gain and offset (C,) and taps (K, C), to bf16 y (B, T, C)."""
    batch, time, width = x.shape
    ring = len(taps) + 1
    recent = np.empty((ring, width), np.float32)
    total = np.empty(width, np.float32)
    for b in range(batch):
        for t in range(time):
            row = recent[t % ring]
            for c in range(width):
                row[c] = _widened(x[b, t, c])
            _normalise(row, row)
            for c in range(width):
                row[c] = row[c] * gain[c] + offset[c]
                total[c] = row[c]
            for i in range(min(len(taps), t)):
                before = recent[(t - 1 - i) % ring]
                for c in range(width):
                    total[c] += taps[i, c] * before[c]
            for c in range(width):
                y[b, t, c] = _rounded(total[c])


@fastmath_kernel
def norm_convolution_backward(dy, x, gain, offset, taps, dx, d_gain, d_offset, d_taps):  # type: ignore[no-untyped-def]
    """The gradients of `norm_convolution`: bf16 dx is written, the fp32 ones are added to."""
    batch, time, width = x.shape
    ring = len(taps) + 1
    recent = np.empty((ring, width), np.float32)
    row, normalised, d_row = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    for b in range(batch):
        for t in range(time - 1, -1, -1):
            for c in range(width):
                row[c] = _widened(x[b, t, c])
            factor = _normalise(row, normalised)
            now = recent[t % ring]
            for c in range(width):
                now[c] = _widened(dy[b, t, c])
                d_row[c] = now[c]
                row[c] = normalised[c] * gain[c] + offset[c]
            for i in range(min(len(taps), time - 1 - t)):
                after = recent[(t + 1 + i) % ring]
                for c in range(width):
                    d_row[c] += taps[i, c] * after[c]
                    d_taps[i, c] += row[c] * after[c]
            for c in range(width):
                d_offset[c] += d_row[c]
                d_gain[c] += d_row[c] * normalised[c]
                d_row[c] *= gain[c]
            _normalise_backward(d_row, normalised, factor)
            for c in range(width):
                dx[b, t, c] = _rounded(d_row[c])


# -- attention


@inlined
def _convolve_row(projected, taps, b, t, row):  # type: ignore[no-untyped-def]
    for c in range(len(row)):
        row[c] = _widened(projected[b, t, c])
    for i in range(min(len(taps), t)):
        for c in range(len(row)):
            row[c] += taps[i, c] * _widened(projected[b, t - 1 - i, c])


@inlined
def _turn(row, cosine, sine, turned):  # type: ignore[no-untyped-def]
    """`rotate` of one row (D,)."""
    half = len(row) // 2
    for i in range(half):
        turned[i] = row[i] * cosine[i] + row[half + i] * sine[i]
    for i in range(half):
        turned[half + i] = row[half + i] * cosine[half + i] + row[i] * sine[half + i]


@inlined
def _turn_back(row, cosine, sine, turned):  # type: ignore[no-untyped-def]
    """The gradient by what was turned, of that by what came of it."""
    half = len(row) // 2
    for i in range(half):
        turned[i] = row[i] * cosine[i] + row[half + i] * sine[half + i]
    for i in range(half):
        turned[half + i] = row[half + i] * cosine[half + i] + row[i] * sine[i]


@fastmath_kernel
def heads(projected, taps, cosine, sine, scale, q, k, v):  # type: ignore[no-untyped-def]
    """bf16 projected (B, T, 3 C), fp32 taps (K, 3 C), cosine and sine (T, D) and scale (H,), to bf16 q, k, v
    (B, H, T, D)."""
    batch, number, time, width = q.shape
    row, turned = np.empty(projected.shape[2], np.float32), np.empty(width, np.float32)
    for b in range(batch):
        for t in range(time):
            _convolve_row(projected, taps, b, t, row)
            for h in range(2 * number):
                head = row[h * width : (h + 1) * width]
                _normalise(head, head)
                _turn(head, cosine[t], sine[t], turned)
                if h < number:
                    for i in range(width):
                        q[b, h, t, i] = _rounded(scale[h] * turned[i])
                else:
                    for i in range(width):
                        k[b, h - number, t, i] = _rounded(turned[i])
            for h in range(number):
                head = row[(2 * number + h) * width : (2 * number + h + 1) * width]
                for i in range(width):
                    v[b, h, t, i] = _rounded(head[i])


@fastmath_kernel
def heads_backward(dq, dk, dv, projected, taps, cosine, sine, scale, d_projected, d_taps, d_scale):  # type: ignore[no-untyped-def]
    """The gradients of `heads`: bf16 d_projected is written, the fp32 ones are added to."""
    batch, number, time, width = dq.shape
    channels, ring = projected.shape[2], len(taps) + 1
    row, given = np.empty(channels, np.float32), np.empty(width, np.float32)
    recent, total = np.empty((ring, channels), np.float32), np.empty(channels, np.float32)
    for b in range(batch):
        for t in range(time - 1, -1, -1):
            _convolve_row(projected, taps, b, t, row)
            now = recent[t % ring]
            for h in range(2 * number):
                head, d_head = row[h * width : (h + 1) * width], now[h * width : (h + 1) * width]
                factor = _normalise(head, head)
                if h < number:
                    for i in range(width):
                        given[i] = _widened(dq[b, h, t, i])
                    _turn_back(given, cosine[t], sine[t], d_head)
                    along = np.float32(0)
                    for i in range(width):
                        along += d_head[i] * head[i]
                        d_head[i] *= scale[h]
                    d_scale[h] += along
                else:
                    for i in range(width):
                        given[i] = _widened(dk[b, h - number, t, i])
                    _turn_back(given, cosine[t], sine[t], d_head)
                _normalise_backward(d_head, head, factor)
            for h in range(number):
                d_head = now[(2 * number + h) * width : (2 * number + h + 1) * width]
                for i in range(width):
                    d_head[i] = _widened(dv[b, h, t, i])
            for c in range(channels):
                total[c] = now[c]
                row[c] = _widened(projected[b, t, c])
            for i in range(min(len(taps), time - 1 - t)):
                after = recent[(t + 1 + i) % ring]
                for c in range(channels):
                    total[c] += taps[i, c] * after[c]
                for c in range(channels):
                    d_taps[i, c] += after[c] * row[c]
            for c in range(channels):
                d_projected[b, t, c] = _rounded(total[c])


# -- a table of which a step uses few rows


@fastmath_kernel
def sum_by_row(rows, values, place, unique, sums):  # type: ignore[no-untyped-def]
    """Add up the fp32 `values` (N, C) of equal `rows` (N,). Returns how many different rows there are; `unique` and
    `sums` are then filled so far. `place` (rows of the table,) is for the kernel's own use: -1 before and after."""
    count = 0
    for n in range(len(rows)):
        at = place[rows[n]]
        if at < 0:
            place[rows[n]] = count
            unique[count] = rows[n]
            for c in range(values.shape[1]):
                sums[count, c] = values[n, c]
            count += 1
        else:
            for c in range(values.shape[1]):
                sums[at, c] += values[n, c]
    for n in range(count):
        place[unique[n]] = -1
    return count


@fastmath_kernel
def adagrad_rows(rows, gradient, squares, table, learning_rate):  # type: ignore[no-untyped-def]
    """A step of row-wise Adagrad on different `rows` (N,) with fp32 `gradient` (N, C)."""
    width = table.shape[1]
    for n in range(len(rows)):
        square = np.float32(0)
        for c in range(width):
            square += gradient[n, c] * gradient[n, c]
        squares[rows[n]] += square / np.float32(width)
        factor = learning_rate / (np.sqrt(squares[rows[n]]) + np.float32(1e-12))
        for c in range(width):
            table[rows[n], c] -= factor * gradient[n, c]


# -- all of them


def warm(poll: Callable[[], object]) -> None:
    """Compile every kernel, or load its machine code, for the types that training has. Calls `poll` in between: the
    first compilations on a machine take seconds."""
    bf16, fp32 = partial(np.zeros, dtype=np.uint16), partial(np.zeros, dtype=np.float32)
    row, gain, taps, wide_taps, scale = bf16((1, 1, 6)), fp32(6), fp32((1, 6)), fp32((1, 18)), fp32(1)
    projected, head, angles = bf16((1, 1, 18)), bf16((1, 1, 1, 6)), fp32((1, 6))
    rows, place = np.zeros(1, np.int64), np.full(1, -1, np.int32)
    for compiled in (
        partial(norm_convolution, row, gain, gain, taps, row),
        partial(norm_convolution_backward, row, row, gain, gain, taps, row, gain, gain, taps),
        partial(heads, projected, wide_taps, angles, angles, scale, head, head, head),
        partial(
            heads_backward, head, head, head, projected, wide_taps, angles, angles, scale, projected, wide_taps, scale
        ),
        partial(sum_by_row, rows, taps, place, rows, taps),
        partial(adagrad_rows, rows, taps, gain, taps, np.float32(0)),
    ):
        compiled()
        poll()
