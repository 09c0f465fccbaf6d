"""Drawing the rows of one kind, family by family. A family's draws depend on no other family, so they run in parallel.

The result does not depend on the number of processes. Every family has random numbers of its own, and what only a
comparison between families can tell (two of them gave the same prompt) is left to the one who collects the rows
(`build.py`): a draw that comes to nothing there counts as one that came to nothing here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from tinygpt.data.rows import Row
from tinygpt_factory.checks import BuildFailed, prove
from tinygpt_factory.family import Family, Phrasing
from tinygpt_factory.kinds import (
    TRAIN,
    Kind,
    held_out_phrasing,
    is_held_out_value,
    known_value,
    training_phrasings,
    training_value,
    unseen_value,
)
from tinygpt_factory.leaks import HeldOut, normalised
from tinygpt_factory.rendering import TRAINING_TYPO, TYPO, Drawn, DrawValue, NoSuchValues, draw

MAX_LENGTH = 240
"""Characters of prompt and code together."""
MISSES_IN_A_ROW = 60
"""After so many draws that came to nothing, a family has no more to give."""
_DRAW_VALUE: dict[Kind, DrawValue] = {TRAIN: training_value, "held_out_slots": unseen_value}
"""The other kinds have values that training may have, none altered."""


class Candidate(NamedTuple):
    """A row that is new to its family, and the number of draws before it that came to nothing."""

    misses: int
    row: Row


@dataclass
class Source:
    """One family's draws of one kind: where its random numbers stand, its prompts so far, and what is drawn ahead."""

    family: Family
    phrasings: Sequence[Phrasing]
    weights: Sequence[float]
    """How often each phrasing is drawn, beside the others."""
    rng: Random
    prompts: set[str] = field(default_factory=set)
    ahead: deque[Candidate] = field(default_factory=deque)
    misses_ahead: int = 0
    """Draws after those of `ahead` that came to nothing."""

    def next(self, drawer: Drawer, draws: int) -> tuple[int, Row | None]:
        """The next row, if one comes within so many draws, and the number of draws before it that came to nothing."""
        if self.ahead:
            misses, row = self.ahead[0]
            if misses < draws:
                self.ahead.popleft()
                return misses, row
            self.ahead[0] = Candidate(misses - draws, row)
            return draws, None
        misses = min(self.misses_ahead, draws)
        self.misses_ahead -= misses
        further, drawn = drawer.draw_row(self, draws - misses)
        return misses + further, drawn

    def draw_ahead(self, drawer: Drawer, rows: int) -> None:
        """Draw so many rows, or as many as come within the draws that so many rows may take."""
        draws = rows * MISSES_IN_A_ROW
        while rows > 0 and draws > 0:
            misses, row = drawer.draw_row(self, draws)
            draws -= misses + 1
            rows -= 1
            if row is None:
                self.misses_ahead = misses
            else:
                self.ahead.append(Candidate(misses, row))


def source_of(family: Family, kind: Kind, seed: int) -> Source:
    """The family's draws from their beginning."""
    phrasings = (held_out_phrasing(family),) if kind == "held_out_phrasings" else training_phrasings(family)
    # People type few words, so training has the short phrasings more often.
    weights = [1 / len(phrasing.text.split()) if kind == TRAIN else 1.0 for phrasing in phrasings]
    return Source(family, phrasings, weights, Random(f"{seed}:{kind}:{family.name}"))


@dataclass(frozen=True)
class Drawer:
    """What the draws of a kind are compared with: every row `taken` by earlier kinds, under its normalised prompt, and
    for training all that is held out. With `check`, a row must also pass its check."""

    kind: Kind
    taken: Mapping[str, Row]
    held_out: HeldOut | None
    check: bool

    def draw_row(self, source: Source, draws: int) -> tuple[int, Row | None]:
        """The family's next row, if one comes within so many draws, and the number of draws before it that came to
        nothing.

        Raises `BuildFailed`.
        """
        for misses in range(draws):
            drawn = self._draw(source)
            row = self._new_row(source, drawn) if drawn else None
            if row:
                return misses, row
        return draws, None

    def _draw(self, source: Source) -> Drawn | None:
        draw_value = _DRAW_VALUE.get(self.kind, known_value)
        (phrasing,) = source.rng.choices(source.phrasings, source.weights)
        try:
            drawn = draw(source.family, phrasing, source.rng, draw_value, TRAINING_TYPO if self.kind == TRAIN else TYPO)
        except NoSuchValues:
            return None
        return None if self.kind == "held_out_slots" and not _shows_unseen_value(drawn) else drawn

    def _new_row(self, source: Source, drawn: Drawn) -> Row | None:
        if len(drawn.prompt) + len(drawn.code) > MAX_LENGTH:
            return None
        prompt = normalised(drawn.prompt)
        if prompt in source.prompts:
            return None
        family = source.family.name
        if known := self.taken.get(prompt):
            require_one_answer(family, drawn.prompt, drawn.code, known)
            return None
        extra: dict[str, Any] = {"family": family}
        if self.check or self.kind != TRAIN:
            extra["check"] = drawn.check
        row = Row(drawn.prompt, drawn.code, extra | {"split": self.kind})
        if self.held_out and self.held_out.leaked_by(row):
            return None
        if self.check:
            prove(family, row.prompt, row.code, extra["check"])
        source.prompts.add(prompt)
        return row


def require_one_answer(family: str, prompt: str, code: str, known: Row) -> None:
    """Raise `BuildFailed` if another family answers this prompt with another code."""
    if known.extra["family"] != family and known.code != code:
        reason = f"{known.extra['family']} answers this prompt with another code: {known.code}"
        raise BuildFailed(family, prompt, code, reason)


def _shows_unseen_value(drawn: Drawn) -> bool:
    return any(drawn.family.pool(slot).open and is_held_out_value(value) for slot, value in drawn.values.items())
