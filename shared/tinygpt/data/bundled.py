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
        _grow(path, poll)
    require_pinned(path, _pin().datasets[name])
    return path


def held_out_rows() -> Path:
    """What a model trained on the bundled dataset is tested with."""
    path = _folder() / HELD_OUT_FILE
    if not path.exists():
        raise InvalidDataset(f"{path} is missing from this installation.")
    return path


def require_pinned(path: Path, pinned: Pinned) -> None:
    """Raise `InvalidDataset` if the file's size or hash is another than `bundled.json` says."""
    size, sha256 = path.stat().st_size, sha256_of(path)
    if (size, sha256) != (pinned.size_bytes, pinned.sha256):
        raise InvalidDataset(
            f"{path} has {size:,} bytes with the SHA-256 {sha256}, but {PIN_FILE} names {pinned.size_bytes:,} bytes "
            f"with {pinned.sha256}: delete the file, and it is grown anew; or run `tinygpt data build`, if you "
            "changed the rows on purpose."
        )


def _grow(path: Path, poll: Callable[[], object]) -> None:
    with _alone_in(path.parent, poll):
        if path.exists():  # another process has grown it meanwhile
            return
        if not factory.on_terminal():
            log.info("growing the bundled rows", file=str(path))
        started = time.monotonic()
        factory.grow(path.parent, poll)
        if not factory.on_terminal():
            log.info("grew the bundled rows", file=str(path), seconds=round(time.monotonic() - started, 1))


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
