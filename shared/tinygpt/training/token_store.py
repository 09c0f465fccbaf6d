"""A dataset split and tokenised once, in files that every run on it maps into memory.

<folder>/<key>/
  card.json                                   what it was made from, and the tokenizer
  training.jsonl, held_out.jsonl              the rows of each side (`data/split.py`), repetitions left out
  <side>.tokens                               the tokens of all its rows, one after the other
  <side>.offsets                              int64 (rows + 1,): where each row's tokens start
  <side>.code_starts                          int32 (rows,): which of its tokens is the code's first
  <side>.code_characters                      int32 (rows,): what its loss is divided by (`Example.code_characters`)

A row with nothing to learn within the context has no tokens. `token_writer.py` writes the folder aside and then renames
it, so it is complete or not there. Both are in `training`, because `data` is also the gateway's, which has no numpy.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tinygpt.data.examples import Example, example_of
from tinygpt.data.split import Side
from tinygpt.data.tokenizer import TokenizerKind
from tinygpt.data.tokenizer_kinds import tokenizer_from_dict
from tinygpt.durable import open_whole

CARD_FILE = "card.json"


@dataclass(frozen=True)
class Card:
    data_sha256: str
    held_out_share: float
    context_length: int
    tokenizer_kind: TokenizerKind
    token_type: str
    """A numpy type: `uint8` for up to 256 tokens, else `uint16` or more."""
    tokenizer: dict[str, Any]
    rows_cut: int
    rows_left_out: int


class StoredExamples(Sequence[Example]):
    """The examples of one side, made when they are asked for. A slice is a list."""

    def __init__(self, folder: Path, side: Side, token_type: str) -> None:
        self._tokens = _mapped(folder / f"{side}.tokens", token_type)
        self._offsets = _mapped(folder / f"{side}.offsets", "int64")
        self._code_starts = _mapped(folder / f"{side}.code_starts", "int32")
        self._code_characters = _mapped(folder / f"{side}.code_characters", "int32")

    @property
    def lengths(self) -> NDArray[np.int32]:
        """`len(example.ids)` of every example."""
        return np.diff(self._offsets).astype(np.int32) - 1

    def __len__(self) -> int:
        return len(self._code_starts)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        i = range(len(self))[index]
        tokens = self._tokens[self._offsets[i] : self._offsets[i + 1]].tolist()
        return example_of(tokens, int(self._code_starts[i]), int(self._code_characters[i]))


def _mapped(path: Path, number_type: str) -> NDArray[Any]:
    return np.asarray(np.memmap(path, dtype=number_type, mode="r"))


class TokenStore:
    """A folder that `prepare_tokens` wrote. Opening it costs the same for any number of rows."""

    def __init__(self, folder: Path) -> None:
        card = Card(**json.loads((folder / CARD_FILE).read_bytes()))
        self.data_sha256 = card.data_sha256
        """Of what a run learns from, order and tokenizer and all: the batches follow from it."""
        self.held_out_share = card.held_out_share
        self.context_length = card.context_length
        self.tokenizer_kind = card.tokenizer_kind
        self.tokenizer = tokenizer_from_dict(card.tokenizer)
        self.rows_cut = card.rows_cut
        """Training rows longer than the context. Only their beginning is learned."""
        self.rows_left_out = card.rows_left_out
        """Training rows whose prompt alone fills the context."""
        self.training_rows = rows_file(folder, "training")
        self.held_out_rows = rows_file(folder, "held_out")
        self.training = StoredExamples(folder, "training", card.token_type)
        self.held_out = StoredExamples(folder, "held_out", card.token_type)

    def keep_training_rows(self, target: Path) -> None:
        """Put the training rows at `target` too: as a hard link if possible, else as a copy.

        Raises `StorageFull`.
        """
        if target.exists() and target.samefile(self.training_rows):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self.training_rows, target)
        except OSError:  # another file is there, or another file system
            with open_whole(target) as copy, self.training_rows.open("rb") as rows:
                shutil.copyfileobj(rows, copy)


def rows_file(folder: Path, side: Side) -> Path:
    """The rows of one side, as JSONL."""
    return folder / f"{side}.jsonl"
