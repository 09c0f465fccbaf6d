"""Hashes of n-grams of tokens, and the hash table in which a known one is found.

64 bits are enough for every n-gram that a model knows to have a hash of its own.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygpt.compiled.jit import inlined, jit, part

_MULTIPLIER = 1_000_003


@jit
def extended_hash(hashed: Any, token: Any) -> Any:
    """The hash of an n-gram with `token` before it, given the n-gram's own hash, which is 0 for no tokens.

    Takes numbers, arrays and tensors.
    """
    return hashed * _MULTIPLIER + token + 1


@inlined
def hash_of_last(count: int, ids: Any, row: int, position: int, known: int, hashed: Any) -> Any:
    """The hash of the `count` tokens that end at ids[row, position], given that of the last `known`. What precedes a
    text is 0."""
    for back in range(known, count):
        token = ids[row, position - back] if back <= position else 0
        hashed = extended_hash(hashed, np.int64(token))
    return hashed


def hash_table(hashes: NDArray[np.int64]) -> NDArray[np.int32]:
    """The index of each of some distinct hashes, in a hash table with linear probing (Knuth, 1973, section 6.4).

    The table's length is a power of two, and at most half of it is used. A hash's index is at the first place, from
    the one that its bits name, that was free; -1 marks what stayed free.
    """
    places = np.full(1 << (2 * len(hashes)).bit_length(), -1, np.int32)
    indices = np.arange(len(hashes), dtype=np.int32)
    place = _first_place(hashes, len(places))
    while len(indices):
        free = places[place] < 0
        places[place[free]] = indices[free]  # of several that meet there, the last
        left = places[place] != indices
        indices, place = indices[left], (place[left] + 1) & (len(places) - 1)
    return places


@part
def find_hash(hashed: Any, places: Any, hashes: Any) -> Any:
    """The index of a hash in `hashes`, whose `hash_table` is `places`; -1 if it is not there."""
    place = _first_place(hashed, len(places))
    while places[place] >= 0 and hashes[places[place]] != hashed:
        place = (place + 1) & (len(places) - 1)
    return places[place]


@jit
def _first_place(hashed: Any, length: int) -> Any:
    """Where in a table of this length the search for a hash begins."""
    return (hashed ^ (hashed >> 17)) & (length - 1)
