"""Growing rows from the families: shares, draws on all cores, and one answer to each prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from tinygpt.data.rows import Row
from tinygpt_factory.checks import BuildFailed, empty_working_folder
from tinygpt_factory.drawing import MISSES_IN_A_ROW, Drawer, Source, require_one_answer, source_of
from tinygpt_factory.families import all_families
from tinygpt_factory.family import Family
from tinygpt_factory.kinds import HELD_OUT, TRAIN, Kind, held_out_pairs, operation_pairs
from tinygpt_factory.leaks import HeldOut, normalised
from tinygpt_factory.processes import drawn_ahead
from tinygpt_factory.weights import weight_of

HELD_OUT_SHARE = 0.025
HELD_OUT_ROWS = 1_200
"""Of each kind, at most."""

OnProgress = Callable[[int, int], object]
"""Called with the rows grown so far, and those there will be."""


def build(
    rows: int,
    seed: int = 0,
    families: Sequence[Family] | None = None,
    *,
    check: bool = False,
    processes: int = 1,
    on_progress: OnProgress = lambda _done, _total: None,
) -> list[Row]:
    """`rows` distinct rows with a `family` and a `split`; the same ones for the same seed, whatever `processes` is.

    Held-out rows also have their `check`. With `check`, all rows have, and have passed it. Checks run in a temporary
    working folder.

    Raises:
        BuildFailed: a row fails its check, two families answer one prompt differently, or the families can't give
            so many distinct rows.
    """
    families = all_families() if families is None else tuple(families)
    builder = Builder(families, seed, check=check, processes=processes)
    share = min(round(rows * HELD_OUT_SHARE), HELD_OUT_ROWS)
    with empty_working_folder():
        held_out = [row for kind in HELD_OUT for row in builder.grow(kind, share)]
        training: list[Row] = []
        for row in builder.grow(TRAIN, rows - len(held_out), HeldOut(held_out)):
            training.append(row)
            if len(training) % 1000 == 0:
                on_progress(len(held_out) + len(training), rows)
    grown = held_out + training
    Random(f"{seed}:order").shuffle(grown)
    on_progress(rows, rows)
    return grown


class Builder:
    """The rows grown so far, over all kinds."""

    def __init__(self, families: Sequence[Family], seed: int = 0, *, check: bool = False, processes: int = 1) -> None:
        self._families = families
        self._unseen_pairs = held_out_pairs(families)
        self._seed = seed
        self._check = check
        self._processes = processes
        self._taken: dict[str, Row] = {}

    def grow(self, kind: Kind, count: int, held_out: HeldOut | None = None) -> Iterator[Row]:
        """`count` new rows of a kind, spread over its families by their weights, none of them a leak.

        A family that has no more to give leaves its share to the others. A held-out kind may come out smaller.
        """
        drawer = Drawer(kind, dict(self._taken), held_out, self._check)
        open_sources = [source_of(family, kind, self._seed) for family in self._families if self._belongs(family, kind)]
        grown = 0
        while grown < count and open_sources:
            quotas = _quotas([weight_of(source.family, kind) for source in open_sources], count - grown)
            still_open = []
            for source, quota in drawn_ahead(drawer, open_sources, quotas, self._processes):
                drawn = 0
                for _ in range(quota):
                    if row := self._next(drawer, source):
                        yield row
                        drawn += 1
                grown += drawn
                if drawn == quota:
                    still_open.append(source)
            open_sources = still_open
        if grown < count and kind == TRAIN:
            raise BuildFailed("all families", "", "", f"the families give only {grown} distinct rows of {count}")

    def _belongs(self, family: Family, kind: Kind) -> bool:
        unseen = not operation_pairs(family).isdisjoint(self._unseen_pairs)
        if kind == "held_out_slots":
            return not unseen and any(family.pool(slot).open for slot in family.code_slots)
        return unseen == (kind == "held_out_compositions")

    def _next(self, drawer: Drawer, source: Source) -> Row | None:
        """The family's next row that no other family gave, within `MISSES_IN_A_ROW` draws."""
        left = MISSES_IN_A_ROW
        while left > 0:
            misses, row = source.next(drawer, left)
            left -= misses
            if row is None:
                return None
            known = self._taken.setdefault(normalised(row.prompt), row)
            if known is row:
                return row
            require_one_answer(row.extra["family"], row.prompt, row.code, known)
            left -= 1
        return None


def _quotas(weights: Sequence[float], count: int) -> list[int]:
    """Whole shares of `count` in proportion to the weights, by largest remainder."""
    total = sum(weights)
    exact = [count * weight / total for weight in weights]
    quotas = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda index: quotas[index] - exact[index])
    for index in by_remainder[: count - sum(quotas)]:
        quotas[index] += 1
    return quotas
