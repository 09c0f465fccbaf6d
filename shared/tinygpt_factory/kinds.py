"""What is held out of training, in five kinds.

The first three are decided by the families alone (a checksum of names, never the seed), so two builds with different
seeds hold out the same things:

- `held_out_slots`: known phrasings with slot values (names, numbers, words) that training never has.
- `held_out_phrasings`: known families in whole templates that training never has.
- `held_out_compositions`: pairs of operations that training never has together, though it has each of them.
- `held_out_beginner`: prompts in a beginner's own words, written by hand without sight of the templates
  (`data/beginner.jsonl`): what a person would really type.
- `held_out_everyday`: plainer ones still, most without a name for what they work on (`data/everyday.jsonl`). The
  recipes are developed with these in view.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import combinations
from random import Random
from typing import Literal
from zlib import crc32

from tinygpt.data.rows import Row
from tinygpt_factory.family import Family, Phrasing
from tinygpt_factory.pools import POOLS
from tinygpt_factory.slots import Pool

Kind = Literal[
    "train",
    "held_out_slots",
    "held_out_phrasings",
    "held_out_compositions",
    "held_out_beginner",
    "held_out_everyday",
]
"""What a row is for. Rows of files have it under the key `split`."""

TRAIN: Kind = "train"
HELD_OUT: tuple[Kind, ...] = ("held_out_slots", "held_out_phrasings", "held_out_compositions")
"""The held-out kinds that are drawn from the families."""
BEGINNER: Kind = "held_out_beginner"
EVERYDAY: Kind = "held_out_everyday"

ONE_VALUE_IN = 10
ALTERED = 0.5
"""How often a training row's name or phrase is altered, if it can be."""
ONE_PAIR_IN = 8
PHRASINGS_RANKED = 10

_ALWAYS_KNOWN = frozenset(pool.default for pool in POOLS.values() if pool.default).union(
    POOLS["greeting"].values, POOLS["noun"].values
)
"""Conventional names, and words that everybody types, such as "hello"."""


def kind_of(row: Row) -> Kind:
    """The kind of a row that was grown or held out; rows without one are for training."""
    kind: Kind = row.extra.get("split", TRAIN)
    return kind


@cache
def is_held_out_value(value: str) -> bool:
    """Whether an open pool's value is kept for `held_out_slots`, one in ten. Those that everybody types never are."""
    return value not in _ALWAYS_KNOWN and len(value) > 1 and crc32(f"value:{value}".encode()) % ONE_VALUE_IN == 0


def training_value(pool: Pool, rng: Random) -> str | None:
    """A value for a training row; None if the value drawn is held out.

    Some names are altered, because a model that reads n-grams must learn that "acc" is not always "accounts".
    """
    value = known_value(pool, rng)
    if value is not None and pool.alter is not None and rng.random() < ALTERED:
        value = pool.alter(value, rng)
    return None if value is None or (pool.open and is_held_out_value(value)) else value


def known_value(pool: Pool, rng: Random) -> str | None:
    """A value that training may have; None if the value drawn is held out."""
    value = pool.draw(rng)
    return None if pool.open and is_held_out_value(value) else value


def unseen_value(pool: Pool, rng: Random) -> str | None:
    """A value for `held_out_slots`; None if training may have the value drawn. Closed pools hold out nothing."""
    value = pool.draw(rng)
    return None if pool.open and not is_held_out_value(value) else value


def held_out_phrasing(family: Family) -> Phrasing:
    """The one template that training never has. Families that share a `wording` lose the same one.

    Never the shortest, because that is what people type first.
    """
    key = family.wording or family.name
    ranked = [index for index in range(min(PHRASINGS_RANKED, len(family.phrasings))) if index != _plainest(family)]
    return family.phrasings[min(ranked, key=lambda index: crc32(f"{key}:{index}".encode()))]


def _plainest(family: Family) -> int:
    lengths = [len(phrasing.text.split()) for phrasing in family.phrasings]
    return lengths.index(min(lengths))


def training_phrasings(family: Family) -> tuple[Phrasing, ...]:
    """The templates that training has."""
    held_out = held_out_phrasing(family)
    return tuple(phrasing for phrasing in family.phrasings if phrasing != held_out)


def operation_pairs(family: Family) -> frozenset[tuple[str, str]]:
    """The pairs of operations that a composition puts together, in order."""
    return frozenset(combinations(family.parts, 2))


def held_out_pairs(families: Iterable[Family]) -> frozenset[tuple[str, str]]:
    """The pairs that training never has together: about one in eight of those that only compositions have."""
    composed: set[tuple[str, str]] = set()
    elsewhere: set[tuple[str, str]] = set()
    for family in families:
        (composed if family.name.startswith("compositions.") else elsewhere).update(operation_pairs(family))
    return frozenset(pair for pair in composed - elsewhere if crc32("+".join(pair).encode()) % ONE_PAIR_IN == 0)
