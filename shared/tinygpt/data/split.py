"""The rule that holds rows out of training: whole prompts, by a hash of the prompt.

A prompt is never on both sides, and its side does not depend on the order of the rows. Exact repetitions count once.
"""

import hashlib
import math
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tinygpt.data.rows import Row

Side = Literal["training", "held_out"]
HELD_OUT_SHARE = 0.1
"""Share of the rows that a run is validated on."""


@dataclass(frozen=True)
class Split:
    """The rows of each side. The held-out ones are ordered by the hash of their prompts, so that the first of them are
    a random sample."""

    training: list[Row]
    held_out: list[Row]


def split_rows(rows: Sequence[Row], held_out_share: float = HELD_OUT_SHARE) -> Split:
    """Both sides of rows that are in memory. Raises `ValueError` for fewer than two distinct prompts."""
    splitter = Splitter()
    for row in rows:
        splitter.add(row)
    sides = splitter.decide(held_out_share)
    training = [row for i, row in enumerate(rows) if sides[i] == "training"]
    held_out = [i for i in range(len(rows)) if sides[i] == "held_out"]
    return Split(training, [rows[i] for i in sorted(held_out, key=sides.hash_of)])


class Splitter:
    """Looks at rows one by one, in order, and then decides which are held out. Needs some 100 bytes a row."""

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._repeats = bytearray()
        self._seen: set[bytes] = set()

    def add(self, row: Row) -> int | None:
        """Look at the next row. Returns the hash of its prompt, or None if the row repeats an earlier one."""
        prompt = normalise(row.prompt)
        digest = hashlib.blake2b(f"{prompt}\0{row.code}".encode(), digest_size=16).digest()
        repeats = digest in self._seen
        self._seen.add(digest)
        self._hashes.append(prompt_hash(prompt))
        self._repeats.append(repeats)
        return None if repeats else self._hashes[-1]

    def decide(self, held_out_share: float) -> "Sides":
        """Hold out at least this share (above 0, below 1) of the distinct rows, but not the last prompt.

        Held out are the lowest hashes, so datasets that share prompts hold out mostly the same ones, and a model can be
        judged on what another's data hold out. Two prompts with the same 64 bits, one chance in 30 million among a
        million prompts, would be on the same side. Raises `ValueError` for fewer than two distinct prompts.
        """
        self._seen.clear()
        ordered = sorted(h for h, repeats in zip(self._hashes, self._repeats, strict=True) if not repeats)
        if not ordered or ordered[0] == ordered[-1]:
            raise ValueError("the data has fewer than two distinct prompts: one to learn from and one to test with")
        least = math.ceil(held_out_share * len(ordered))
        next_prompt = bisect_right(ordered, ordered[least - 1])
        return Sides(self._hashes, self._repeats, ordered[min(next_prompt, len(ordered) - 1)])


class Sides:
    """The side of each row by its number; None for a row that repeats an earlier one."""

    def __init__(self, hashes: "array[int]", repeats: bytearray, first_training_hash: int) -> None:
        self._hashes = hashes
        self._repeats = repeats
        self._first_training_hash = first_training_hash

    def __len__(self) -> int:
        return len(self._hashes)

    def __getitem__(self, number: int) -> Side | None:
        if self._repeats[number]:
            return None
        return "training" if self.is_training(self._hashes[number]) else "held_out"

    def hash_of(self, number: int) -> int:
        """The hash of a row's prompt, which orders the held-out rows."""
        return self._hashes[number]

    def is_training(self, prompt_hash: int) -> bool:
        """Whether rows whose prompt has this hash are learned from."""
        return prompt_hash >= self._first_training_hash


def normalise(prompt: str) -> str:
    """The prompt without capitals and spare spaces: prompts that are then the same are one prompt."""
    return " ".join(prompt.lower().split())


def prompt_hash(normalised: str) -> int:
    """64 bits, whose order decides which prompts are held out."""
    return int.from_bytes(hashlib.blake2b(normalised.encode(), digest_size=8).digest())
