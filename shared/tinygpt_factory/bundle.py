"""The bundled dataset: `train.jsonl`, what a model learns from, and `held_out.jsonl`, what it is tested with.

Training has the rows written by hand (`curated.jsonl`) and those grown from the families. A row written by hand that
gives a held-out row away is left out, and so is a grown row that answers a hand-written prompt. What is held out has a
kind that was written by hand as well (`beginner.jsonl`); a training row that gives one of those away is left out too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinygpt.data.rows import Row, read_rows
from tinygpt_factory.build import build, write_jsonl
from tinygpt_factory.split import BEGINNER, TRAIN, HeldOut, normalised, words_of

TRAIN_FILE = "train.jsonl"
HELD_OUT_FILE = "held_out.jsonl"
CURATED_FILE = "curated.jsonl"
BEGINNER_FILE = "beginner.jsonl"
DEFAULT_ROWS = 400_000


@dataclass(frozen=True)
class Bundle:
    """`training` rows have prompt, code and family; `held_out` rows also their check and split."""

    training: list[dict[str, str]]
    held_out: list[dict[str, str]]


def make_bundle(folder: Path, *, rows: int = DEFAULT_ROWS, seed: int = 0) -> Bundle:
    """The rows written by hand in `folder` and those grown; the same bundle for the same arguments.

    Raises `BuildFailed` for a family whose check fails.
    """
    grown = build(rows, seed)
    beginner = [_plain(row) | {"split": BEGINNER} for row in read_rows(folder / BEGINNER_FILE)]
    held_out = [row for row in grown if row["split"] != TRAIN] + beginner
    known, asked_by_hand = HeldOut(held_out), HeldOut(beginner)
    training = [row for row in grown if row["split"] == TRAIN and asked_by_hand.leaked_by(row) is None]
    unseen = unseen_words(training, held_out)
    by_hand = [
        row
        for row in map(_plain, read_rows(folder / CURATED_FILE))
        if known.leaked_by(row, by_hand=True) is None and words_of(row["code"]).isdisjoint(unseen)
    ]
    taken = {normalised(row["prompt"]) for row in by_hand}
    kept = [row for row in training if normalised(row["prompt"]) not in taken]
    training = [{key: row[key] for key in ("prompt", "code", "family")} for row in by_hand + kept]
    return Bundle(training, held_out)


def unseen_words(training: Iterable[Mapping[str, str]], held_out: Iterable[Mapping[str, str]]) -> set[str]:
    """What the codes of `held_out_slots` have and those of `training` have not: their unseen values."""
    unseen = set().union(*(words_of(row["code"]) for row in held_out if row["split"] == "held_out_slots"))
    for row in training:
        unseen -= words_of(row["code"])
    return unseen


def write_bundle(bundle: Bundle, folder: Path) -> None:
    """Write both files into `folder`, each whole."""
    write_jsonl(bundle.training, folder / TRAIN_FILE)
    write_jsonl(bundle.held_out, folder / HELD_OUT_FILE)


def _plain(row: Row) -> dict[str, str]:
    return {"prompt": row.prompt, "code": row.code, **row.extra}
