"""An n-gram has one hash, however it is made, and each known hash is found in its table."""

from typing import Any

import numpy as np
import pytest
import torch

from tinygpt.compiled.jit import kernel
from tinygpt.compiled.ngrams import find_hash, hash_of_last, hash_table
from tinygpt.model.ngram_hashes import ngram_hashes


@kernel
def find_all(wanted: Any, places: Any, hashes: Any, found: Any) -> None:
    for i in range(len(wanted)):
        found[i] = find_hash(wanted[i], places, hashes)


@kernel
def hashes_at(ids: Any, row: int, position: int, sizes: Any, hashes: Any) -> None:
    hashed, known = np.int64(0), 0
    for i in range(len(sizes)):
        hashed = hash_of_last(sizes[i], ids, row, position, known, hashed)
        known = sizes[i]
        hashes[i] = hashed


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("position", [0, 2, 7])
def test_a_kernel_and_torch_give_the_same_hashes(dtype: type[np.generic], position: int) -> None:
    sizes = (2, 3, 5)
    ids = np.random.default_rng(0).integers(0, 100, (2, 8)).astype(dtype)
    padded = torch.nn.functional.pad(torch.from_numpy(ids).long(), (4, 0))

    hashes = np.zeros(3, np.int64)
    hashes_at(ids, 1, position, np.array(sizes), hashes)

    assert hashes.tolist() == [int(of_size[1, position]) for of_size in ngram_hashes(padded, sizes)]


@pytest.mark.parametrize("count", [0, 1, 3, 1000])
def test_each_known_hash_is_found_and_no_other(count: int) -> None:
    hashes = np.unique(np.random.default_rng(0).integers(-(2**62), 2**62, count))
    places = hash_table(hashes)
    assert len(places) >= 2 * len(hashes)

    found = np.zeros(2 * count, np.int32)
    find_all(np.concatenate([hashes, hashes + 1]), places, hashes, found)

    assert found.tolist() == [*range(count), *[-1] * count]


def test_hashes_that_meet_at_one_place_are_all_found() -> None:
    hashes = np.arange(20) * 2**45
    found = np.zeros(20, np.int32)

    find_all(hashes, hash_table(hashes), hashes, found)

    assert found.tolist() == list(range(20))
