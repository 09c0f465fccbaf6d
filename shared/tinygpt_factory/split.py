"""What is held out of training, and the proof that none of it leaked back.

Four kinds. The first three are decided by the families alone (a checksum of names, never the seed), so that two builds
with different seeds hold out the same things:

- `held_out_slots`: known phrasings with slot values (names, numbers, words) that training never has.
- `held_out_phrasings`: known families in whole templates that training never has.
- `held_out_compositions`: pairs of operations that training never has together, though it has each of them.
- `held_out_beginner`: prompts in a beginner's own words, written by hand without sight of the templates
  (`data/beginner.jsonl`): what a person would really type.

A training row leaks a held-out row when it would let a model answer from memory:

1. the two prompts are the same once normalised; or
2. the code is the same and the prompts, without filler words, are at least `SIMILAR` alike; or
3. the held-out row is a `held_out_phrasings` one of the same family, and the prompts are at least `SIMILAR` alike
   once every word copied into the code is masked, and without the words of frames and mentions ("write code to", "the
   list called"): then the wording was seen, if with other names. A row written by hand, whose family may have another
   name, is compared with those whose code is the same but for words of the prompt; or
4. it is written by hand, and its code has a word that a `held_out_slots` code has but no other training row's.

A row that differs from a `held_out_slots` row in nothing but a slot's value is no leak: that is what this kind asks.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import combinations
from random import Random
from typing import Literal
from zlib import crc32

from rapidfuzz import fuzz

from tinygpt_factory.family import Family, Phrasing
from tinygpt_factory.pools import POOLS
from tinygpt_factory.slots import Pool

Split = Literal["train", "held_out_slots", "held_out_phrasings", "held_out_compositions", "held_out_beginner"]

TRAIN: Split = "train"
HELD_OUT: tuple[Split, ...] = ("held_out_slots", "held_out_phrasings", "held_out_compositions")
"""The kinds that are drawn from the families."""
BEGINNER: Split = "held_out_beginner"

SIMILAR = 92.0
ONE_VALUE_IN = 10
ALTERED = 0.5
"""How often a training row's name or phrase is altered, where it can be."""
ONE_PAIR_IN = 8
PHRASINGS_RANKED = 10

_FILLER_WORDS = """
a an the please pls hey hi i i'd you me my im am how do does can could would should to want need have like trying
help code python in with using for write some command way best good quick one line liner show tell explain is there
what what's whats of that which
"""
_FILLER = frozenset(_FILLER_WORDS.split())
_FRAME_WORDS = """
function functions def define called named name given it create build make implement method expression snippet program
list lists array dict dictionary string text variable number value set tuple does my homework task exercise
"""
_FRAME = _FILLER.union(_FRAME_WORDS.split())
_DEFAULTS = frozenset(name for pool in POOLS.values() for name in pool.defaults)
_WORD = re.compile(r"\w+|[^\w\s]")


@cache
def is_held_out_value(value: str) -> bool:
    """Whether an open pool's value is kept for `held_out_slots`, one in ten. Default parameter names never are."""
    return value not in _DEFAULTS and len(value) > 1 and crc32(f"value:{value}".encode()) % ONE_VALUE_IN == 0


def training_value(pool: Pool, rng: Random) -> str | None:
    """A value for a training row; None where that drawn is held out.

    Of names some are altered: a model that reads n-grams must learn that "acc" is not always "accounts".
    """
    value = known_value(pool, rng)
    if value is not None and pool.alter is not None and rng.random() < ALTERED:
        value = pool.alter(value, rng)
    return None if value is None or (pool.open and is_held_out_value(value)) else value


def known_value(pool: Pool, rng: Random) -> str | None:
    """A value that training may have; None where that drawn is held out."""
    value = pool.draw(rng)
    return None if pool.open and is_held_out_value(value) else value


def unseen_value(pool: Pool, rng: Random) -> str | None:
    """A value for `held_out_slots`; None where training may have that drawn. Closed pools have nothing to hold out."""
    value = pool.draw(rng)
    return None if pool.open and not is_held_out_value(value) else value


def held_out_phrasing(family: Family) -> Phrasing:
    """The one template that training never has. Families that share a `wording` lose the same one."""
    key = family.wording or family.name
    ranked = range(min(PHRASINGS_RANKED, len(family.phrasings)))
    return family.phrasings[min(ranked, key=lambda index: crc32(f"{key}:{index}".encode()))]


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


def normalised(prompt: str) -> str:
    """The prompt without capitals, spare spaces and the mark at its end."""
    return " ".join(prompt.casefold().split()).rstrip(" .?!")


def words_of(code: str) -> set[str]:
    """The names, numbers and words of texts that a code is made of."""
    return set(re.findall(r"\w+", code))


def _gist(prompt: str) -> str:
    return " ".join(word for word in normalised(prompt).split() if word.strip(",:") not in _FILLER)


def _masked(row: Mapping[str, str]) -> str:
    """The prompt with `_` for each word that the code has too, and without words of frames and mentions."""
    copied = {token.casefold() for token in _WORD.findall(row["code"])}
    words = (word for word in normalised(row["prompt"]).split() if word.strip(",:") not in _FRAME - copied)
    return " ".join("_" if token in copied else token for token in _WORD.findall(" ".join(words)))


def _shape(row: Mapping[str, str]) -> str:
    """The code with `_` for each word that the prompt has too: what rows of one task have in common."""
    copied = words_of(row["prompt"].casefold())
    return re.sub(r"\w+", lambda word: "_" if word[0].casefold() in copied else word[0], row["code"])


class HeldOut:
    """Held-out rows, arranged so that a leak is found without comparing everything with everything.

    Only rows with the same prompt, the same code or (for unseen phrasings) the same family or shape of code are ever
    compared.
    """

    def __init__(self, rows: Iterable[Mapping[str, str]]) -> None:
        self._by_prompt: dict[str, Mapping[str, str]] = {}
        self._by_code: defaultdict[str, list[tuple[str, Mapping[str, str]]]] = defaultdict(list)
        self._by_family: defaultdict[str, list[tuple[str, Mapping[str, str]]]] = defaultdict(list)
        self._by_shape: defaultdict[str, list[tuple[str, Mapping[str, str]]]] = defaultdict(list)
        for row in rows:
            self._by_prompt[normalised(row["prompt"])] = row
            self._by_code[row["code"]].append((_gist(row["prompt"]), row))
            if row["split"] == "held_out_phrasings":
                wording = _masked(row), row
                self._by_family[row["family"]].append(wording)
                self._by_shape[_shape(row)].append(wording)

    def leaked_by(self, row: Mapping[str, str], *, by_hand: bool = False) -> Mapping[str, str] | None:
        """The held-out row that this training row gives away, by the first three rules at the head of this file."""
        if same := self._by_prompt.get(normalised(row["prompt"])):
            return same
        gist = _gist(row["prompt"])
        for other, held_out in self._by_code.get(row["code"], ()):
            if fuzz.ratio(gist, other) >= SIMILAR:
                return held_out
        wordings = self._by_shape.get(_shape(row)) if by_hand else self._by_family.get(row["family"])
        if wordings:
            masked = _masked(row)
            for other, held_out in wordings:
                if fuzz.ratio(masked, other) >= SIMILAR:
                    return held_out
        return None


def leaks(rows: Iterable[Mapping[str, str]]) -> list[tuple[Mapping[str, str], Mapping[str, str]]]:
    """Every training row of a data set that gives a held-out row away, with that row."""
    rows = list(rows)
    held_out = HeldOut(row for row in rows if row["split"] != TRAIN)
    pairs = ((row, held_out.leaked_by(row)) for row in rows if row["split"] == TRAIN)
    return [(row, other) for row, other in pairs if other is not None]
