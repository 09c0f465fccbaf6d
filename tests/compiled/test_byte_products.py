"""Sums of bytes' products are exact, by whichever instructions; sizes are the largest, or NaN."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from llvmlite.binding import get_host_cpu_features

from tinygpt.compiled import byte_products
from tinygpt.compiled.byte_products import add_products4, as_floats4, load_bytes4, splat_bytes, splat_sums4
from tinygpt.compiled.jit import kernel
from tinygpt.compiled.lanes import WIDE, larger_magnitude, largest_magnitude, load, store4
from tinygpt.inference.linear_kernels import quantise
from tinygpt.inference.packed_weights import ZERO_POINT


def _has(way: str) -> bool:
    feature = {"_by_vnni": "avx512vnni", "_by_half_vnni": "avxvnni"}.get(way)
    return feature is None or bool(get_host_cpu_features().get(feature))


def compiled_sums() -> Any:
    """Compiled anew at every call: a function's machine code would be that of the first."""

    def sums(unsigned: Any, signed: Any, start: int, y: Any) -> None:
        total = splat_sums4(np.int32(start))
        for i in range(unsigned.shape[0]):
            total = add_products4(load_bytes4(unsigned, (i, 0, 0)), splat_bytes(signed, (4 * i,)), total)
        store4(y, (0,), as_floats4(total))

    import numba

    return numba.njit(sums)


WAYS = ["_by_vnni", "_by_half_vnni", "_by_products_of_16_bits"]


@pytest.mark.parametrize("way", WAYS)
def test_sums_of_products_are_exact(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    if not _has(way):
        pytest.skip("an instruction that this processor does not have")
    monkeypatch.setattr(byte_products, "_add_products", lambda _: getattr(byte_products, way))
    random = np.random.default_rng(0)
    sums, y = compiled_sums(), np.zeros(WIDE, np.float32)
    for unsigned, signed in (
        (random.integers(0, 256, (40, WIDE, 4)), random.integers(-128, 128, 160)),
        (np.full((40, WIDE, 4), 255), np.full(160, -128)),
        (np.full((40, WIDE, 4), 255), np.full(160, 127)),
        (np.full((1, WIDE, 4), 128), np.array([-127, 0, 1, 127])),
    ):
        sums(unsigned.astype(np.uint8), signed.astype(np.int8), -7, y)
        expected = np.einsum("iof,if->o", unsigned, signed.reshape(-1, 4)) - 7
        np.testing.assert_array_equal(y, expected.astype(np.float32))


@pytest.mark.parametrize("setting", [{"NUMBA_CPU_NAME": "generic"}, {"NUMBA_ENABLE_AVX": "0"}], ids=str)
def test_a_lesser_processor_than_this_one_can_be_compiled_for(setting: dict[str, str]) -> None:
    code = """
import numpy as np
from tests.compiled.test_byte_products import compiled_sums
y = np.zeros(64, np.float32)
compiled_sums()(np.full((2, 64, 4), 255, np.uint8), np.full(8, -128, np.int8), 5, y)
print(y[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | setting, capture_output=True, text=True, check=True, timeout=60
    )
    assert float(done.stdout) == 8 * 255 * -128 + 5


@kernel
def rounded(x: Any, bytes: Any) -> Any:
    return quantise(x, 0, 16, x.shape[1] - 32, bytes)


@kernel
def size(x: Any) -> Any:
    return largest_magnitude(larger_magnitude(load(x, (0,)), load(x, (16,))))


def test_numbers_are_rounded_to_bytes_by_the_largest_of_them() -> None:
    x = np.random.default_rng(1).standard_normal((1, 96)).astype(np.float32)
    x[0, 20] = -7.0
    x[0, [0, 95]] = 100.0  # outside of what is rounded
    into = np.full((1, 96), 99, np.int8)

    scale, start = rounded(x, into)

    assert scale == pytest.approx(7 / 127)
    expected = np.rint(x[0, 16:80] * np.float32(127 / 7)).astype(np.int8)
    np.testing.assert_array_equal(into[0, 16:80], expected)
    assert into[0, 20] == -127
    assert (into[0, [15, 80]] == 99).all()
    assert start == -ZERO_POINT * int(expected.sum(dtype=np.int64))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_of_a_row_with_what_is_no_number_nothing_is_left(bad: float) -> None:
    x = np.ones((1, 96), np.float32)
    x[0, 40] = bad
    scale, _ = rounded(x, np.zeros((1, 96), np.int8))
    assert not np.isfinite(scale)


def test_nothing_but_zeros_is_rounded_to_zeros() -> None:
    into = np.ones((1, 96), np.int8)
    assert rounded(np.zeros((1, 96), np.float32), into) == (0.0, 0)
    assert not into[0, 16:80].any()


@pytest.mark.parametrize("place", range(32))
def test_a_size_is_the_largest_or_nan(place: int) -> None:
    x = np.linspace(-1, 1, 32, dtype=np.float32)
    x[place] = -3.0
    assert size(x) == 3.0
    for bad in (np.nan, -np.nan):
        x[place] = bad
        assert np.isnan(size(x))
