"""Growing the data set from the families: draw, check, split, and refuse to give out anything that fails."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tinygpt.durable import open_whole
from tinygpt_factory.families import Family, all_families
from tinygpt_factory.family import Phrasing
from tinygpt_factory.rendering import TRAINING_TYPO, TYPO, Drawn, DrawValue, NoSuchValues, draw
from tinygpt_factory.split import (
    HELD_OUT,
    TRAIN,
    HeldOut,
    Split,
    held_out_pairs,
    held_out_phrasing,
    is_held_out_value,
    known_value,
    normalised,
    operation_pairs,
    training_phrasings,
    training_value,
    unseen_value,
)

Row = dict[str, str]

MAX_LENGTH = 240
HELD_OUT_SHARE = 0.025
HELD_OUT_ROWS = 1_200
"""Of each kind, at most."""
COMPOSED_SHARE = 0.6
"""Compositions have so much in common that training needs fewer of each than their weight says."""
MISSES_IN_A_ROW = 60
_DRAW_VALUE: dict[Split, DrawValue] = {TRAIN: training_value, "held_out_slots": unseen_value}
"""The others have values that training may have, none altered."""


class BuildFailed(Exception):
    """A family is wrong: a row does not pass its check, or one prompt has two answers."""

    def __init__(self, family: str, prompt: str, code: str, reason: str) -> None:
        super().__init__(f"{family}: {reason}\nprompt: {prompt}\ncode:\n{code}")
        self.family = family
        self.prompt = prompt
        self.code = code
        self.reason = reason


def build(rows: int, seed: int = 0, families: Sequence[Family] | None = None) -> list[Row]:
    """`rows` distinct rows, each with `prompt`, `code`, `family`, `check` and `split`; the same ones for the same seed.

    Every row has passed its check. The checks run in this process, and while they do its working folder is a
    temporary one: they are the project's own code, never a model's.

    Raises:
        BuildFailed: a row fails its check, two families answer one prompt differently, or the families can't
            give so many distinct rows.
    """
    families = all_families() if families is None else tuple(families)
    builder = Builder(families, seed)
    share = min(round(rows * HELD_OUT_SHARE), HELD_OUT_ROWS)
    with _empty_working_folder():
        held_out = [row for split in HELD_OUT for row in builder.grow(split, share, None)]
        training = builder.grow(TRAIN, rows - len(held_out), HeldOut(held_out))
    grown = held_out + training
    Random(f"{seed}:order").shuffle(grown)
    return grown


def write_jsonl(rows: Iterable[Mapping[str, str]], path: Path) -> None:
    """Write the rows as JSON lines, whole or not at all."""
    with open_whole(path) as file:
        for row in rows:
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())


def run_check(code: str, check: str) -> None:
    """Run a check against a code in a namespace of its own. Raises whatever the check raises."""
    exec(check, {"__name__": "__main__", "code": code})


class Builder:
    """What has been drawn so far, over all splits."""

    def __init__(self, families: Sequence[Family], seed: int) -> None:
        self._families = families
        self._unseen_pairs = held_out_pairs(families)
        self._seed = seed
        self._taken: dict[str, Row] = {}

    def grow(self, split: Split, count: int, held_out: HeldOut | None) -> list[Row]:
        """`count` new rows of a split, spread over its families by their weights, none of them a leak.

        A family that has no more to give leaves its share to the others. A held-out split may come out smaller.
        """
        sources = [(family, Random(f"{self._seed}:{split}:{family.name}")) for family in self._families]
        open_sources = [source for source in sources if self._belongs(source[0], split)]
        rows: list[Row] = []
        while len(rows) < count and open_sources:
            quotas = _quotas([_weight(family, split) for family, _ in open_sources], count - len(rows))
            still_open = []
            for (family, rng), quota in zip(open_sources, quotas, strict=True):
                drawn = [row for _ in range(quota) if (row := self._next(family, split, rng, held_out))]
                rows += drawn
                if len(drawn) == quota:
                    still_open.append((family, rng))
            open_sources = still_open
        if len(rows) < count and split == TRAIN:
            raise BuildFailed("all families", "", "", f"the families give only {len(rows)} distinct rows of {count}")
        return rows

    def _belongs(self, family: Family, split: Split) -> bool:
        unseen = not operation_pairs(family).isdisjoint(self._unseen_pairs)
        if split == "held_out_slots":
            return not unseen and any(family.pool(slot).open for slot in family.code_slots)
        return unseen == (split == "held_out_compositions")

    def _next(self, family: Family, split: Split, rng: Random, held_out: HeldOut | None) -> Row | None:
        phrasings = (held_out_phrasing(family),) if split == "held_out_phrasings" else training_phrasings(family)
        draw_value = _DRAW_VALUE.get(split, known_value)
        for _ in range(MISSES_IN_A_ROW):
            drawn = _draw(family, phrasings, rng, draw_value, TRAINING_TYPO if split == TRAIN else TYPO)
            if drawn is None or (split == "held_out_slots" and not _shows_unseen_value(drawn)):
                continue
            row = {
                "prompt": drawn.prompt, "code": drawn.code, "family": family.name, "check": drawn.check, "split": split,
            }  # fmt: skip
            if self._is_new(row) and not (held_out and held_out.leaked_by(row)):
                self._prove(row)
                self._taken[normalised(row["prompt"])] = row
                return row
        return None

    def _is_new(self, row: Row) -> bool:
        if len(row["prompt"]) + len(row["code"]) > MAX_LENGTH:
            return False
        known = self._taken.get(normalised(row["prompt"]))
        if known and known["family"] != row["family"] and known["code"] != row["code"]:
            reason = f"{known['family']} answers this prompt with another code: {known['code']}"
            raise BuildFailed(row["family"], row["prompt"], row["code"], reason)
        return known is None

    def _prove(self, row: Row) -> None:
        try:
            run_check(row["code"], row["check"])
        except Exception as error:
            reason = f"the check fails: {error!r}"
            raise BuildFailed(row["family"], row["prompt"], row["code"], reason) from error
        for left in os.scandir():
            shutil.rmtree(left) if left.is_dir() else Path(left).unlink()


def _draw(
    family: Family, phrasings: Sequence[Phrasing], rng: Random, draw_value: DrawValue, typo_share: float
) -> Drawn | None:
    try:
        return draw(family, rng.choice(phrasings), rng, draw_value, typo_share)
    except NoSuchValues:
        return None


def _shows_unseen_value(drawn: Drawn) -> bool:
    return any(drawn.family.pool(slot).open and is_held_out_value(value) for slot, value in drawn.values.items())


def _weight(family: Family, split: Split) -> float:
    return family.weight * (COMPOSED_SHARE if split == TRAIN and family.name.startswith("compositions.") else 1.0)


def _quotas(weights: Sequence[float], count: int) -> list[int]:
    """Whole shares of `count` in proportion to the weights, by largest remainder."""
    total = sum(weights)
    exact = [count * weight / total for weight in weights]
    quotas = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda index: quotas[index] - exact[index])
    for index in by_remainder[: count - sum(quotas)]:
        quotas[index] += 1
    return quotas


@contextmanager
def _empty_working_folder() -> Iterator[None]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
