"""A dataset split and tokenised once, in files that every run on it maps into memory.

<folder>/<key>/
  card.json                                   what it was made from, and the tokenizer
  training.jsonl, held_out.jsonl              the rows of each side (`split_rows`), repetitions left out
  <side>.tokens                               the tokens of all its rows, one after the other
  <side>.offsets                              int64 (rows + 1,): where each row's tokens start
  <side>.code_starts                          int32 (rows,): which of its tokens is the code's first
  <side>.code_characters                      int32 (rows,): what its loss is divided by (`Example.code_characters`)

A row with nothing to learn within the context has no tokens. The folder is written aside and then renamed: it is whole
or not there. It lies in `training`, for `data` is also the gateway's, which has no numpy.
"""

import hashlib
import json
import mmap
import os
import shutil
import tempfile
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from tinygpt.contracts.errors import InvalidDataset, TrainingFailed
from tinygpt.data.examples import (
    HELD_OUT_SHARE,
    Example,
    encode_row,
    example_of,
    first_training_hash,
    normalise,
    prompt_hash,
)
from tinygpt.data.rows import Row, stream_rows
from tinygpt.data.tokenizer import EOS, Tokenizer, TokenizerKind, make_tokenizer, tokenizer_from_dict
from tinygpt.durable import open_whole, sha256_of, storage_errors, sync_folder, write_whole

Side = Literal["training", "held_out"]
_FORMAT = 3
"""Part of the key: to be raised when other files are written, or a tokenizer learns another vocabulary."""
_CARD = "card.json"
_ROWS_BETWEEN_POLLS = 1000
_STAGING = ".incoming-"
_ABANDONED_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class _Card:
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
    """A folder that `prepare_tokens` wrote. To open one costs the same for any number of rows."""

    def __init__(self, folder: Path) -> None:
        card = _Card(**json.loads((folder / _CARD).read_bytes()))
        self.data_sha256 = card.data_sha256
        """Of what a run learns from, order and tokenizer and all: the batches follow from it."""
        self.held_out_share = card.held_out_share
        self.context_length = card.context_length
        self.tokenizer_kind = card.tokenizer_kind
        self.tokenizer = tokenizer_from_dict(card.tokenizer)
        self.rows_cut = card.rows_cut
        """Training rows longer than the context, of which the beginning is learned."""
        self.rows_left_out = card.rows_left_out
        """Training rows whose prompt alone fills the context."""
        self.training_rows = _rows_file(folder, "training")
        self.held_out_rows = _rows_file(folder, "held_out")
        self.training = StoredExamples(folder, "training", card.token_type)
        self.held_out = StoredExamples(folder, "held_out", card.token_type)

    def keep_training_rows(self, target: Path) -> None:
        """Put the training rows at `target` too, as a hard link where that can be, else as a copy.

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


def prepare_tokens(
    source: Path | Sequence[Row],
    folder: Path,
    *,
    held_out_share: float = HELD_OUT_SHARE,
    context_length: int,
    tokenizer: TokenizerKind = "characters",
    source_hash: str | None = None,
    poll: Callable[[], object] = lambda: None,
) -> TokenStore:
    """The store of these rows under `folder`: the one that is there, else a new one.

    The rows of a file are never held all at once; the memory needed is some 100 bytes a row. `source_hash` stands for
    the content of `source` where that is known, so that an existing store is found without reading it. Calls `poll`
    now and then.

    Raises:
        InvalidDataset: the file can't be read, or has a bad row.
        TrainingFailed: fewer than two prompts, or no row of a side fits the context.
        StorageFull: no space is left.
    """
    made_from = {
        "format": _FORMAT,
        "rows": source_hash or _hash_of(source),
        "held_out_share": held_out_share,
        "context_length": context_length,
        "tokenizer": tokenizer,
    }
    key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]
    target = folder / key
    if not (target / _CARD).exists():
        if isinstance(source, Path) and not source.exists():  # before `folder`, which may lie beside it, is made
            raise InvalidDataset(f"{source} can't be read: no such file.")
        with storage_errors(target):
            folder.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(folder)
            staging = Path(tempfile.mkdtemp(dir=folder, prefix=_STAGING))
        try:
            rows = stream_rows(source) if isinstance(source, Path) else source
            _write_store(staging, _polling(rows, poll), held_out_share, context_length, tokenizer, poll)
            _put_in_place(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return TokenStore(target)


def _hash_of(source: Path | Sequence[Row]) -> str:
    if isinstance(source, Path):
        try:
            return sha256_of(source)
        except OSError as error:
            raise InvalidDataset(f"{source} can't be read: {error.strerror}.") from error
    digest = hashlib.sha256()
    for row in source:
        digest.update(row.to_json().encode() + b"\n")
    return digest.hexdigest()


def _remove_abandoned(folder: Path) -> None:
    """What processes that were killed left of stores, a day ago or more."""
    for left in folder.glob(f"{_STAGING}*"):
        if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def _put_in_place(staging: Path, target: Path) -> None:
    staging.chmod(0o755)
    try:
        staging.rename(target)
    except OSError:
        if not (target / _CARD).exists():  # else another process was faster
            raise
    sync_folder(target.parent)


def _write_store(
    folder: Path,
    rows: Iterable[Row],
    held_out_share: float,
    context_length: int,
    kind: TokenizerKind,
    poll: Callable[[], object],
) -> None:
    data_hash = hashlib.sha256()
    _split_into_files(folder, rows, held_out_share, data_hash.update)
    tokenizer = _learn_tokenizer(kind, _polling(_stored_rows(folder, "training"), poll))
    token_type = np.min_scalar_type(tokenizer.vocab_size - 1)

    def write(side: Side) -> tuple[int, int]:
        rows = _polling(_stored_rows(folder, side), poll)
        return _write_tokens(folder, side, rows, tokenizer, token_type, context_length)

    cut, left_out = write("training")
    write("held_out")
    data_hash.update(json.dumps(tokenizer.to_dict()).encode())
    card = _Card(
        data_hash.hexdigest(),
        held_out_share,
        context_length,
        kind,
        token_type.name,
        tokenizer.to_dict(),
        rows_cut=cut,
        rows_left_out=left_out,
    )
    write_whole(folder / _CARD, json.dumps(asdict(card), ensure_ascii=False, indent=1))


# -- the split


def _split_into_files(
    folder: Path, rows: Iterable[Row], held_out_share: float, hash_update: Callable[[bytes], object]
) -> None:
    """`training.jsonl` and `held_out.jsonl`, with the rows of `split_rows` in its order."""
    spool = folder / "rows.jsonl"
    prompts, digests, ends = array("Q"), array("Q"), array("Q", [0])
    with storage_errors(spool), spool.open("wb") as file:
        for row in rows:
            content = f"{row.prompt}\0{row.code}\0".encode()
            prompt = normalise(row.prompt)
            hash_update(content)
            prompts.append(prompt_hash(prompt))
            digests.frombytes(hashlib.blake2b(f"{prompt}\0{row.code}".encode(), digest_size=16).digest())
            line = row.to_json().encode() + b"\n"
            file.write(line)
            ends.append(ends[-1] + len(line))
    distinct = _first_occurrences(np.frombuffer(digests, np.uint64).reshape(-1, 2))
    hashes = np.frombuffer(prompts, np.uint64)[distinct]
    try:
        held_out = hashes < np.uint64(first_training_hash(hashes.tolist(), held_out_share))
    except ValueError as error:
        raise TrainingFailed(f"Training can't start: {error}.") from error
    by_hash = distinct[held_out][np.argsort(hashes[held_out], kind="stable")]
    with spool.open("rb") as whole, mmap.mmap(whole.fileno(), 0, access=mmap.ACCESS_READ) as lines:
        for side, indices in (("training", distinct[~held_out]), ("held_out", by_hash)):
            with open_whole(folder / f"{side}.jsonl") as target:
                for i in indices.tolist():
                    target.write(lines[ends[i] : ends[i + 1]])
    spool.unlink()


def _first_occurrences(digests: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The indices of the rows of `digests` (rows, 2) that no row before them equals, ascending."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable
    ordered = digests[order]
    repeats = np.zeros(len(order), dtype=bool)
    repeats[1:] = (ordered[1:] == ordered[:-1]).all(axis=1)
    return np.sort(order[~repeats])


# -- the tokens


def _learn_tokenizer(kind: TokenizerKind, rows: Iterable[Row]) -> Tokenizer:
    if kind == "characters":  # whose `from_corpus` holds all texts at once: their characters do
        characters: set[str] = set()
        for row in rows:
            characters.update(row.prompt, row.code)
        return make_tokenizer(kind, characters)
    return make_tokenizer(kind, (text for row in rows for text in (row.prompt, row.code)))


def _write_tokens(
    folder: Path,
    side: Side,
    rows: Iterable[Row],
    tokenizer: Tokenizer,
    token_type: np.dtype[Any],
    context_length: int,
) -> tuple[int, int]:
    """Returns how many rows the context cuts, and how many it has no room for."""
    offsets, code_starts, code_characters = array("q", [0]), array("i"), array("i")
    cut = left_out = 0
    with open_whole(folder / f"{side}.tokens") as file:
        for row in rows:
            encoded = encode_row(row, tokenizer, context_length)
            if encoded is None:
                left_out += 1
                continue
            tokens, code_start, characters = encoded
            cut += tokens[-1] != EOS
            file.write(np.array(tokens, token_type).tobytes())
            offsets.append(offsets[-1] + len(tokens))
            code_starts.append(code_start)
            code_characters.append(characters)
    if not code_starts:
        raise TrainingFailed(
            f"No {side.replace('_', '-')} row has code within the context of {context_length} tokens: "
            "train with a larger context_length, or shorten the prompts."
        )
    arrays = {"offsets": offsets, "code_starts": code_starts, "code_characters": code_characters}
    for name, values in arrays.items():
        with open_whole(folder / f"{side}.{name}") as file:
            file.write(values.tobytes())
    return cut, left_out


def _rows_file(folder: Path, side: Side) -> Path:
    return folder / f"{side}.jsonl"


def _stored_rows(folder: Path, side: Side) -> Iterator[Row]:
    """Prompt and code of the rows that `_split_into_files` wrote: good ones, so they aren't looked at again."""
    with _rows_file(folder, side).open(encoding="utf-8", newline="\n") as file:
        for line in file:
            record = json.loads(line)
            yield Row(record["prompt"], record["code"])


def _polling(rows: Iterable[Row], poll: Callable[[], object]) -> Iterator[Row]:
    for i, row in enumerate(rows):
        if i % _ROWS_BETWEEN_POLLS == 0:
            poll()
        yield row
