"""Hashes of n-grams of tokens, and where they are in a table of known ones."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

HASH_MULTIPLIER = 1_000_003


def ngram_hashes(padded: Tensor, sizes: tuple[int, ...]) -> Iterator[Tensor]:
    """For every n in `sizes`, ascending, the hashes (B, T) of the n-grams that end at each of the last T positions of
    `padded` (B, max(sizes) - 1 + T). What precedes a text is 0. 64 bits: no two of a table's n-grams share a hash."""
    context = max(sizes) - 1
    time = padded.size(1) - context
    hashed = torch.zeros_like(padded[:, context:])
    for back in range(context + 1):
        start = context - back
        hashed = hashed * HASH_MULTIPLIER + padded[:, start : start + time] + 1
        if back + 1 in sizes:
            yield hashed


def hash_table(hashes: NDArray[np.int64]) -> NDArray[np.int32]:
    """Of n-grams' hashes, a hash table with linear probing (Knuth, 1973, section 6.4), at most half full: the place of
    each in `hashes` is at the first free place from the one on that its bits name; elsewhere is -1."""
    places = np.full(1 << (2 * len(hashes)).bit_length(), -1, np.int32)
    rows = np.arange(len(hashes), dtype=np.int32)
    place = (hashes ^ (hashes >> 17)) & (len(places) - 1)
    while len(rows):
        free = places[place] < 0
        places[place[free]] = rows[free]  # of several that meet there, the last
        left = places[place] != rows
        rows, place = rows[left], (place[left] + 1) & (len(places) - 1)
    return places
