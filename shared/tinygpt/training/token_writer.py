"""Writing a token store: the rows are read twice, split, and written once as JSONL and once as tokens."""

import contextlib
import hashlib
import json
import re
import shutil
import tempfile
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from tinygpt.contracts.errors import InvalidDataset, TrainingFailed
from tinygpt.data.examples import encode_row
from tinygpt.data.rows import Row, stream_rows
from tinygpt.data.split import HELD_OUT_SHARE, Side, Sides, Splitter
from tinygpt.data.tokenizer import BASE_CHARACTERS, EOS, Tokenizer, TokenizerKind
from tinygpt.data.tokenizer_kinds import make_tokenizer
from tinygpt.durable import open_whole, sha256_of, storage_errors, sync_folder, write_whole
from tinygpt.training.token_store import CARD_FILE, Card, TokenStore, rows_file

_FORMAT = 3
"""Part of the key: to be raised when other files are written, or a tokenizer learns another vocabulary."""
_BEYOND_BASE = re.compile(f"[^{re.escape(BASE_CHARACTERS)}\0]")  # no row has NUL
_ROWS_BETWEEN_POLLS = 1000
_STAGING = ".incoming-"
_ABANDONED_SECONDS = 24 * 3600.0


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

    The rows of a file are never held all at once. The memory needed is some 100 bytes a row, and the held-out rows.
    `source_hash` stands for the content of `source` if that is known, so that an existing store is found without
    reading it. Calls `poll` now and then.

    Raises:
        InvalidDataset: the file can't be read, has a bad row, or changes while it is read.
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
    if not (target / CARD_FILE).exists():
        if isinstance(source, Path) and not source.exists():  # before `folder`, which may lie beside it, is made
            raise InvalidDataset(f"{source} can't be read: no such file.")
        with storage_errors(target):
            folder.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(folder)
            staging = Path(tempfile.mkdtemp(dir=folder, prefix=_STAGING))
        try:
            with _unchanged(source):
                _write_store(staging, source, held_out_share, context_length, tokenizer, poll)
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
        digest.update(_line(row))
    return digest.hexdigest()


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes left of stores when they were killed, a day ago or more."""
    for left in folder.glob(f"{_STAGING}*"):
        if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _unchanged(source: Path | Sequence[Row]) -> Iterator[None]:
    """Raise `InvalidDataset` if a file changes meanwhile, because it is read twice."""
    if not isinstance(source, Path):
        yield
        return
    before = source.stat()
    yield
    after = source.stat()
    if (before.st_mtime_ns, before.st_size, before.st_ino) != (after.st_mtime_ns, after.st_size, after.st_ino):
        raise InvalidDataset(f"{source} changed while it was read: start again when it is complete.")


def _put_in_place(staging: Path, target: Path) -> None:
    staging.chmod(0o755)
    try:
        staging.rename(target)
    except OSError:
        if not (target / CARD_FILE).exists():  # else another process was faster
            raise
    sync_folder(target.parent)


def _write_store(
    folder: Path,
    source: Path | Sequence[Row],
    held_out_share: float,
    context_length: int,
    kind: TokenizerKind,
    poll: Callable[[], object],
) -> None:
    def rows() -> Iterator[Row]:
        for i, row in enumerate(stream_rows(source) if isinstance(source, Path) else source):
            if i % _ROWS_BETWEEN_POLLS == 0:
                poll()
            yield row

    data_hash = hashlib.sha256()
    sides, characters = _first_look(rows(), held_out_share, data_hash.update)
    texts = characters if kind == "characters" else _training_texts(rows(), sides)
    tokenizer = make_tokenizer(kind, texts)
    token_type = np.min_scalar_type(tokenizer.vocab_size - 1)

    def encoded(row: Row) -> _EncodedRow:
        return _encode(row, tokenizer, token_type, context_length)

    with _SideWriter(folder, "training", context_length) as training:
        held_out: list[tuple[int, _EncodedRow]] = []
        for i, row in enumerate(rows()):
            match sides[i]:
                case "training":
                    training.add(encoded(row))
                case "held_out":
                    held_out.append((sides.hash_of(i), encoded(row)))
    with _SideWriter(folder, "held_out", context_length) as writer:
        for _, row_of_hash in sorted(held_out, key=itemgetter(0)):
            writer.add(row_of_hash)
    data_hash.update(json.dumps(tokenizer.to_dict()).encode())
    card = Card(
        data_hash.hexdigest(),
        held_out_share,
        context_length,
        kind,
        token_type.name,
        tokenizer.to_dict(),
        rows_cut=training.rows_cut,
        rows_left_out=training.rows_left_out,
    )
    write_whole(folder / CARD_FILE, json.dumps(asdict(card), ensure_ascii=False, indent=1))


def _first_look(
    rows: Iterable[Row], held_out_share: float, hash_update: Callable[[bytes], object]
) -> tuple[Sides, set[str]]:
    """The side of each row, and the characters of the training rows, beyond the base ones.

    The sides are known only after the last row. A character is one of a training row if the highest hash among the
    prompts of its rows is a training row's.
    """
    splitter = Splitter()
    highest: dict[str, int] = {}
    for row in rows:
        content = f"{row.prompt}\0{row.code}\0"
        hash_update(content.encode())
        prompt_hash = splitter.add(row)
        if prompt_hash is not None:
            for character in set(_BEYOND_BASE.findall(content)):
                highest[character] = max(prompt_hash, highest.get(character, 0))
    try:
        sides = splitter.decide(held_out_share)
    except ValueError as error:
        raise TrainingFailed(f"Training can't start: {error}.") from error
    return sides, {character for character, prompt_hash in highest.items() if sides.is_training(prompt_hash)}


def _training_texts(rows: Iterable[Row], sides: Sides) -> Iterator[str]:
    for i, row in enumerate(rows):
        if sides[i] == "training":
            yield row.prompt
            yield row.code


class _EncodedRow(NamedTuple):
    line: bytes
    tokens: bytes = b""
    length: int = 0
    """In tokens; 0 if the context has no room for anything to learn."""
    code_start: int = 0
    code_characters: int = 0
    is_cut: bool = False


def _encode(row: Row, tokenizer: Tokenizer, token_type: np.dtype[Any], context_length: int) -> _EncodedRow:
    encoded = encode_row(row, tokenizer, context_length)
    if encoded is None:
        return _EncodedRow(_line(row))
    tokens, code_start, code_characters = encoded
    packed = bytes(tokens) if token_type.itemsize == 1 else np.array(tokens, token_type).tobytes()
    return _EncodedRow(_line(row), packed, len(tokens), code_start, code_characters, tokens[-1] != EOS)


class _SideWriter:
    """Writes the files of one side, row by row."""

    def __init__(self, folder: Path, side: Side, context_length: int) -> None:
        self._folder = folder
        self._side = side
        self._context_length = context_length
        self._offsets, self._code_starts, self._code_characters = array("q", [0]), array("i"), array("i")
        self.rows_cut = 0
        self.rows_left_out = 0

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as files:
            self._rows = files.enter_context(open_whole(rows_file(self._folder, self._side)))
            self._tokens = files.enter_context(open_whole(self._folder / f"{self._side}.tokens"))
            self._files = files.pop_all()
        return self

    def add(self, row: _EncodedRow) -> None:
        self._rows.write(row.line)
        if not row.length:
            self.rows_left_out += 1
            return
        self.rows_cut += row.is_cut
        self._tokens.write(row.tokens)
        self._offsets.append(self._offsets[-1] + row.length)
        self._code_starts.append(row.code_start)
        self._code_characters.append(row.code_characters)

    def __exit__(self, *error: Any) -> None:
        self._files.__exit__(*error)
        if error[0] is not None:
            return
        if not self._code_starts:
            raise TrainingFailed(
                f"No {self._side.replace('_', '-')} row has code within the context of {self._context_length} tokens: "
                "train with a larger context_length, or shorten the prompts."
            )
        arrays = {
            "offsets": self._offsets,
            "code_starts": self._code_starts,
            "code_characters": self._code_characters,
        }
        for name, values in arrays.items():
            with open_whole(self._folder / f"{self._side}.{name}") as file:
                file.write(values.tobytes())


def _line(row: Row) -> bytes:
    return row.to_json().encode() + b"\n"
