"""The bundled dataset: `train.jsonl`, what a model learns from, and `held_out.jsonl`, what it is tested with.

Training has the rows written by hand (`curated.jsonl`) and those grown from the families. A row written by hand that
gives a held-out row away is left out, and so is a grown row that answers a hand-written prompt. Two kinds of
held-out rows are written by hand as well (`beginner.jsonl`, `everyday.jsonl`). A training row that gives one of those
away is left out too.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tinygpt.contracts.errors import InvalidDataset
from tinygpt.data.rows import Row, read_rows
from tinygpt.data.split import Split
from tinygpt_factory.build import OnProgress, build
from tinygpt_factory.kinds import BEGINNER, EVERYDAY, TRAIN, kind_of
from tinygpt_factory.leaks import HeldOut, normalised, words_of

CURATED_FILE = "curated.jsonl"
BEGINNER_FILE = "beginner.jsonl"
EVERYDAY_FILE = "everyday.jsonl"
DEFAULT_ROWS = 300_000


def make_bundle(
    folder: Path,
    *,
    rows: int = DEFAULT_ROWS,
    seed: int = 0,
    check: bool = False,
    processes: int = 1,
    on_progress: OnProgress = lambda _done, _total: None,
) -> Split:
    """The rows written by hand in `folder` and those grown; the same ones for the same `rows` and `seed`.

    Training rows have prompt, code and family; held-out rows also their check and split. With `check`, every grown
    row has passed its own.

    Raises:
        InvalidDataset: a file written by hand is missing, or has a bad row. Nothing was grown then.
        BuildFailed: a family is wrong.
    """
    curated = _written_by_hand(folder / CURATED_FILE)
    by_beginners = [
        replace(row, extra=row.extra | {"split": kind})
        for name, kind in ((BEGINNER_FILE, BEGINNER), (EVERYDAY_FILE, EVERYDAY))
        for row in _written_by_hand(folder / name)
    ]
    grown = build(rows, seed, check=check, processes=processes, on_progress=on_progress)
    held_out = [row for row in grown if kind_of(row) != TRAIN] + by_beginners
    known, asked_by_hand = HeldOut(held_out), HeldOut(by_beginners)
    training = [row for row in grown if kind_of(row) == TRAIN and asked_by_hand.leaked_by(row) is None]
    unseen = unseen_words(training, held_out)
    by_hand = [
        row
        for row in curated
        if not (known.leaked_by(row) or known.leaked_by(row, by_hand=True)) and words_of(row.code).isdisjoint(unseen)
    ]
    taken = {normalised(row.prompt) for row in by_hand}
    kept = [row for row in training if normalised(row.prompt) not in taken]
    return Split([Row(row.prompt, row.code, {"family": row.extra["family"]}) for row in by_hand + kept], held_out)


def unseen_words(training: Iterable[Row], held_out: Iterable[Row]) -> set[str]:
    """What the codes of `held_out_slots` have and those of `training` have not: their unseen values."""
    unseen = set().union(*(words_of(row.code) for row in held_out if kind_of(row) == "held_out_slots"))
    return unseen - words_of("\n".join(row.code for row in training))


def _written_by_hand(path: Path) -> list[Row]:
    rows = read_rows(path)
    for number, row in enumerate(rows, start=1):
        if missing := [key for key in ("family", "check") if not isinstance(row.extra.get(key), str)]:
            raise InvalidDataset(f"{path}, row {number} has no {' and no '.join(missing)}: {row.prompt!r}.")
    return rows
