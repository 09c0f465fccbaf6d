"""All kernels of training made ready before they are needed."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from tinygpt.compiled.jit import OBSTACLE
from tinygpt.model.ops.arrays import FORMATS, has_kernels

if not OBSTACLE:
    from tinygpt.model import table_kernels, training_kernels


def warm(dtype: torch.dtype, device: torch.device, poll: Callable[[], object]) -> None:
    """Compile every kernel, or load its machine code, for a model that computes in `dtype` on `device`, if it may use
    them. Calls `poll` after each kernel: the first compilations on a machine take seconds."""
    if not has_kernels(dtype, device, 0):
        return
    width, heads_width = 32, 96
    numbers, fp32 = partial(np.zeros, dtype=FORMATS[dtype]), partial(np.zeros, dtype=np.float32)
    row, gain, taps = numbers((1, 1, width)), fp32(width), fp32((1, width))
    projected, head = numbers((1, 1, heads_width)), numbers((1, 1, 1, width))
    head_taps, angles, scale = fp32((1, heads_width)), fp32((1, width)), fp32(1)
    scores = numbers((1, 16, 16))
    ids, sizes, rows, starts = np.zeros((1, 1), np.int64), np.arange(2), np.zeros(1, np.int64), np.arange(2)
    places, place = np.full(2, -1, np.int32), np.full(1, -1, np.int32)
    for call in (
        partial(training_kernels.norm_convolution, row, gain, gain, taps, row),
        partial(training_kernels.norm_convolution_backward, row, row, gain, gain, taps, row, gain, gain, taps),
        partial(training_kernels.heads, projected, head_taps, angles, angles, scale, head, head, head),
        partial(
            training_kernels.heads_backward,
            head, head, head, projected, head_taps, angles, angles, scale, projected, head_taps, scale,
        ),
        partial(training_kernels.causal_softmax, scores),
        partial(training_kernels.causal_softmax_backward, scores, scores),
        partial(table_kernels.find_ngrams, ids, sizes, places, rows, rows, starts),
        partial(table_kernels.sum_of_rows, taps, rows, starts, row[0]),
        partial(table_kernels.sum_by_row, row[0], rows, starts, place, rows, taps),
        partial(table_kernels.sum_by_row, taps, rows, starts, place, rows, taps),
        partial(table_kernels.adagrad_rows, rows, taps, gain, taps, np.float32(0)),
    ):  # fmt: skip
        call()
        poll()


def warm_all(poll: Callable[[], object]) -> None:
    """`warm` in every format that a model on this machine's CPU may compute in."""
    for dtype in FORMATS:
        warm(dtype, torch.device("cpu"), poll)
