"""The proof that no training row gives a held-out row away.

A training row leaks a held-out row if it would let a model answer from memory:

1. the two prompts are the same once normalised; or
2. the code is the same and the prompts, without filler words, are at least `SIMILAR` alike; or
3. the held-out row is one of `held_out_phrasings` and the same family, and the prompts are at least `SIMILAR` alike
   once every word copied into the code is masked and the words of frames and mentions ("write code to", "the list
   called") are left out: then the wording was seen, with other names. A row written by hand may name its family
   otherwise, so it is compared with those whose code is the same except for words of the prompt; or
4. it is written by hand, and its code has a word that a `held_out_slots` code has and no other training row has.

A row that differs from a `held_out_slots` row only in a slot's value is no leak: that is what this kind asks.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from rapidfuzz import fuzz

from tinygpt.data.rows import Row
from tinygpt_factory.kinds import TRAIN, kind_of

SIMILAR = 92.0

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
_WORD = re.compile(r"\w+|[^\w\s]")


@lru_cache(maxsize=64)
def normalised(prompt: str) -> str:
    """The prompt without capitals, spare spaces and the mark at its end."""
    return " ".join(prompt.casefold().split()).rstrip(" .?!")


def words_of(code: str) -> set[str]:
    """The names, numbers and words of texts that a code is made of."""
    return set(re.findall(r"\w+", code))


def _gist(prompt: str) -> str:
    return " ".join(word for word in normalised(prompt).split() if word.strip(",:") not in _FILLER)


def _masked(row: Row) -> str:
    """The prompt with `_` for each word that the code has too, and without words of frames and mentions."""
    copied = {token.casefold() for token in _WORD.findall(row.code)}
    words = (
        word for word in normalised(row.prompt).split() if (bare := word.strip(",:")) not in _FRAME or bare in copied
    )
    return " ".join("_" if token in copied else token for token in _WORD.findall(" ".join(words)))


def _shape(row: Row) -> str:
    """The code with `_` for each word that the prompt has too: what rows of one task have in common."""
    copied = words_of(row.prompt.casefold())
    return re.sub(r"\w+", lambda word: "_" if word[0].casefold() in copied else word[0], row.code)


class HeldOut:
    """Held-out rows, arranged so that a leak is found without comparing everything with everything.

    Only rows with the same prompt, the same code or (for unseen phrasings) the same family or shape of code are ever
    compared.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._by_prompt: dict[str, Row] = {}
        self._by_code: defaultdict[str, list[tuple[str, Row]]] = defaultdict(list)
        self._by_family: defaultdict[str, list[tuple[str, Row]]] = defaultdict(list)
        self._by_shape: defaultdict[str, list[tuple[str, Row]]] = defaultdict(list)
        for row in rows:
            self._by_prompt[normalised(row.prompt)] = row
            self._by_code[row.code].append((_gist(row.prompt), row))
            if kind_of(row) == "held_out_phrasings":
                wording = _masked(row), row
                self._by_family[row.extra["family"]].append(wording)
                self._by_shape[_shape(row)].append(wording)

    def leaked_by(self, row: Row, *, by_hand: bool = False) -> Row | None:
        """The held-out row that this training row gives away, by the first three rules at the head of this file."""
        if same := self._by_prompt.get(normalised(row.prompt)):
            return same
        if (same_code := self._by_code.get(row.code)) and (found := _alike(_gist(row.prompt), same_code)):
            return found
        wordings = self._by_shape.get(_shape(row)) if by_hand else self._by_family.get(row.extra["family"])
        return _alike(_masked(row), wordings) if wordings else None


def _alike(text: str, others: Iterable[tuple[str, Row]]) -> Row | None:
    """The first of the rows whose text is at least `SIMILAR` to this one."""
    return next((row for other, row in others if fuzz.ratio(text, other, score_cutoff=SIMILAR)), None)


def leaks(rows: Iterable[Row]) -> list[tuple[Row, Row]]:
    """Every training row of a data set that gives a held-out row away, with that row."""
    rows = list(rows)
    held_out = HeldOut(row for row in rows if kind_of(row) != TRAIN)
    pairs = ((row, held_out.leaked_by(row)) for row in rows if kind_of(row) == TRAIN)
    return [(row, other) for row, other in pairs if other is not None]
