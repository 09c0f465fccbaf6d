"""What the machine could do at best, measured: bytes read a second for one stream, a matrix product for many.

A single stream reads every weight once per token, so memory bounds it. The weights may fit a level of cache, so the
bandwidth is measured on a buffer of their size. Many streams share what is read, so arithmetic bounds them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.side_process import pinned

_SIDE = 2048
_SECONDS = 0.5
BYTES_A_WEIGHT = {"float32": 4, "bfloat16": 2, "int8": 1}


@dataclass(frozen=True)
class Product:
    """10^9 operations a second, a multiply-add counted as two."""

    large: float
    """2048 x 2048 x 2048."""
    thin: float
    """The streams' rows by the MLP's first matrix: the largest product of a decoding step."""


def _sum_in_order(numbers: NDArray[np.float32]) -> np.float32:
    total = np.float32(0)
    for i in range(len(numbers)):
        total += numbers[i]
    return total


# `fastmath`, so that the sum may be taken in any order, sixteen numbers at once.
_sum: Callable[[NDArray[np.float32]], np.float32] = numba.njit(fastmath=True, nogil=True)(_sum_in_order)


def read_gigabytes_a_second(size_bytes: int, core: int) -> float:
    """10^9 bytes a second that one core reads from a buffer of this size, again and again; the best of ten."""
    with pinned({core}):
        buffer = np.ones(max(16, size_bytes // 4), np.float32)
        _sum(buffer)
        rounds = max(1, int(2e8 / buffer.nbytes))
        fastest = float("inf")
        for _ in range(10):
            started = time.perf_counter()
            for _ in range(rounds):
                _sum(buffer)
            fastest = min(fastest, (time.perf_counter() - started) / rounds)
    return buffer.nbytes / fastest / 1e9


def product_gflops(dtype: torch.dtype, threads: int, rows: int, width: int) -> Product:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return Product(_gflops(dtype, _SIDE, _SIDE, _SIDE), _gflops(dtype, rows, width, 4 * width))
    finally:
        torch.set_num_threads(before)


def _gflops(dtype: torch.dtype, rows: int, inner: int, columns: int) -> float:
    """The fastest within half a second."""
    a, b = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
    output = torch.empty(rows, columns, dtype=dtype)
    torch.mm(a, b, out=output)
    rounds = max(1, int(2e8 / (rows * inner * columns)))
    fastest = float("inf")
    until = time.perf_counter() + _SECONDS
    while time.perf_counter() < until:
        started = time.perf_counter()
        for _ in range(rounds):
            torch.mm(a, b, out=output)
        fastest = min(fastest, (time.perf_counter() - started) / rounds)
    return 2 * rows * inner * columns / fastest / 1e9
