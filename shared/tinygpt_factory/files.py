"""Writing what was grown, and the file that pins it."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tinygpt.contracts.errors import InvalidDataset
from tinygpt.data.bundled import FILES, HELD_OUT_FILE, PIN_FILE, Pin, Pinned, read_pin
from tinygpt.data.rows import Row, write_rows
from tinygpt.data.split import Split
from tinygpt.data.validation import validate
from tinygpt.durable import open_whole, sha256_of, write_whole

_TRAIN_FILE = FILES["bundled"]


def write_bundle(bundle: Split, folder: Path, *, rows: int, seed: int) -> dict[Path, int]:
    """Write both files of rows, and pin them with what they were made with. Returns how many rows each has."""
    write_rows(folder / _TRAIN_FILE, bundle.training)
    write_rows(folder / HELD_OUT_FILE, bundle.held_out)
    write_pin(folder, rows, seed)
    return {folder / _TRAIN_FILE: len(bundle.training), folder / HELD_OUT_FILE: len(bundle.held_out)}


def write_pin(folder: Path, rows: int, seed: int) -> None:
    """Pin the files as they are, and what they were grown with."""
    pin = Pin(rows=rows, seed=seed, datasets={dataset: _pinned(folder / name) for dataset, name in FILES.items()})
    write_whole(folder / PIN_FILE, pin.model_dump_json(indent=2) + "\n")


def write_pinned(bundle: Split, folder: Path) -> dict[Path, int]:
    """Write the training rows, if they and the held-out rows are what git has. Returns how many there are.

    Raises `InvalidDataset` if they are not.
    """
    pinned = read_pin(folder).datasets["bundled"]
    _require_same(folder / HELD_OUT_FILE, _sha256(bundle.held_out), sha256_of(folder / HELD_OUT_FILE))
    with open_whole(folder / _TRAIN_FILE) as file:
        digest = hashlib.sha256()
        for line in _lines(bundle.training):
            digest.update(line)
            file.write(line)
        _require_same(folder / _TRAIN_FILE, digest.hexdigest(), pinned.sha256)
    return {folder / _TRAIN_FILE: len(bundle.training)}


def _require_same(path: Path, grown: str, pinned: str) -> None:
    if grown != pinned:
        raise InvalidDataset(
            f"The families give a {path.name} with the SHA-256 {grown}, but {path.parent} is pinned to {pinned}. "
            "If you changed them on purpose, `tinygpt data build` pins what they give now."
        )


def _pinned(path: Path) -> Pinned:
    return Pinned(sha256=sha256_of(path), size_bytes=path.stat().st_size, statistics=validate(path).statistics)


def _sha256(rows: Iterable[Row]) -> str:
    digest = hashlib.sha256()
    for line in _lines(rows):
        digest.update(line)
    return digest.hexdigest()


def _lines(rows: Iterable[Row]) -> Iterable[bytes]:
    return (row.to_json().encode() + b"\n" for row in rows)
