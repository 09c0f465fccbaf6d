"""The bundled datasets: rows that come with the project, named by the hashes that `bundled.json` pins.

The rows written by hand are in git. `train.jsonl` is not: the data factory grows it from the families when it is
missing, and it must then have the pinned hash. A dataset's id follows from that hash, so only the one who reads the
rows needs the file.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import structlog
from pydantic import BaseModel

from tinygpt.contracts.datasets import DatasetCard, RowStatistics, ValidationReport
from tinygpt.contracts.errors import InvalidDataset
from tinygpt.contracts.runs import BUNDLED_DATASETS, BundledDataset
from tinygpt.data import factory
from tinygpt.durable import sha256_of

try:
    import fcntl
except ImportError:  # Windows: two processes may then grow the same file, each beside it
    fcntl = None  # type: ignore[assignment]

log = structlog.get_logger()

PIN_FILE = "bundled.json"
FILES: dict[BundledDataset, str] = {"bundled": "train.jsonl", "curated": "curated.jsonl"}
HELD_OUT_FILE = "held_out.jsonl"
_SECONDS_BETWEEN_POLLS = 0.2


class Pinned(BaseModel):
    """What a file of rows must be."""

    sha256: str
    size_bytes: int
    statistics: RowStatistics

    @property
    def dataset_id(self) -> str:
        return dataset_id_of(self.sha256)


class Pin(BaseModel):
    """The content of `bundled.json`: what the bundled files must be, and what the factory is asked for to grow them."""

    rows: int
    seed: int
    datasets: dict[BundledDataset, Pinned]


def dataset_id_of(sha256: str) -> str:
    """The id of the dataset whose rows, as JSONL, have this hash."""
    return f"d-{sha256[:16]}"


def bundled_card(dataset: str) -> DatasetCard | None:
    """The card of a bundled dataset, given its name or its id; None for any other. Reads no rows."""
    for name in BUNDLED_DATASETS:
        pinned = _pin().datasets[name]
        if dataset in {name, pinned.dataset_id}:
            return DatasetCard(
                dataset_id=pinned.dataset_id,
                name=name,
                created_at=(_folder() / PIN_FILE).stat().st_mtime,
                size_bytes=pinned.size_bytes,
                report=ValidationReport(statistics=pinned.statistics),
            )
    return None


def bundled_rows(dataset: str, *, poll: Callable[[], object] = lambda: None) -> Path:
    """The rows of a bundled dataset, given its name or its id. Grows them if they are missing, and calls `poll` now
    and then meanwhile.

    Raises `InvalidDataset` if the file is not the pinned one, or is missing and can't be grown.
    """
    name = next(name for name in BUNDLED_DATASETS if dataset in {name, _pin().datasets[name].dataset_id})
    path = _folder() / FILES[name]
    if not path.exists():
        _grow(path, Path.exists, poll)
    _require_pinned(path, _pin().datasets[name])
    return path


def grow_bundled_rows() -> Path:
    """Grow `train.jsonl` if it is missing or not the pinned one. Raises `InvalidDataset` if it can't be grown."""
    path, pinned = _folder() / FILES["bundled"], _pin().datasets["bundled"]
    _grow(path, lambda path: path.exists() and _is_pinned(path, pinned), lambda: None)
    return path


def held_out_rows() -> Path:
    """What a model trained on the bundled dataset is tested with."""
    path = _folder() / HELD_OUT_FILE
    if not path.exists():
        raise InvalidDataset(f"{path} is missing from this installation.")
    return path


def _require_pinned(path: Path, pinned: Pinned) -> None:
    if not _is_pinned(path, pinned):
        raise InvalidDataset(
            f"{path} has {path.stat().st_size:,} bytes with the SHA-256 {sha256_of(path)}, but {PIN_FILE} names "
            f"{pinned.size_bytes:,} bytes with {pinned.sha256}. If you changed the rows or the families on purpose, "
            "`tinygpt data build` pins what they give now; otherwise `tinygpt data grow` restores train.jsonl, and "
            "git the rest."
        )


def _is_pinned(path: Path, pinned: Pinned) -> bool:
    return path.stat().st_size == pinned.size_bytes and sha256_of(path) == pinned.sha256


def _grow(path: Path, is_there: Callable[[Path], bool], poll: Callable[[], object]) -> None:
    with _alone_in(path.parent, poll):
        if is_there(path):  # another process may have grown it meanwhile
            return
        if not factory.on_terminal():
            log.info("growing the bundled rows", file=str(path))
        factory.grow(path.parent, poll)


@contextlib.contextmanager
def _alone_in(folder: Path, poll: Callable[[], object]) -> Iterator[None]:
    """Wait until no other process grows rows in the folder, and keep others waiting meanwhile."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                poll()
                time.sleep(_SECONDS_BETWEEN_POLLS)
        yield
    finally:
        os.close(descriptor)


def read_pin(folder: Path) -> Pin:
    """The pin that lies in a folder."""
    return Pin.model_validate_json((folder / PIN_FILE).read_bytes())


@cache
def _pin() -> Pin:
    return read_pin(_folder())


def _folder() -> Path:
    """The checkout's `data/`, or `bundled/` beside the installed package."""
    package = Path(__file__).resolve().parents[1]
    for candidate in (package.parents[1] / "data", package / "bundled"):
        if (candidate / PIN_FILE).exists():
            return candidate
    raise InvalidDataset(f"{PIN_FILE} is missing from this installation.")
