"""Stored datasets: `<dataset_id>/rows.jsonl` and `card.json`, named by the hash of their rows and never changed.

The bundled datasets have such ids too, but are stored nowhere: their rows come with the installation.
"""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from tinygpt.contracts.datasets import DatasetCard, ValidationReport
from tinygpt.contracts.errors import InvalidDataset
from tinygpt.data.bundled import bundled_card, bundled_rows, dataset_id_of
from tinygpt.data.rows import Format, ScannedRow, scan_rows, scan_text, write_rows
from tinygpt.data.validation import DEFAULT_CONTEXT_LENGTH, Validation
from tinygpt.durable import storage_errors, sync_folder, write_whole

ROWS_FILE = "rows.jsonl"
CARD_FILE = "card.json"
_STAGING = ".incoming-"


def rows_of(datasets: Path, dataset_id: str, *, poll: Callable[[], object] = lambda: None) -> Path:
    """The rows of a dataset: those stored under `datasets`, or else the bundled ones of that id. Calls `poll` now and
    then if these must be grown first.

    Raises `InvalidDataset` if bundled rows are missing and can't be grown, or are not the pinned ones.
    """
    stored = datasets / dataset_id / ROWS_FILE
    return bundled_rows(dataset_id, poll=poll) if not stored.exists() and bundled_card(dataset_id) else stored


def store_dataset(
    datasets: Path,
    source: Path | Iterable[ScannedRow],
    *,
    name: str,
    context_length: int = DEFAULT_CONTEXT_LENGTH,
    skip_bad_rows: bool = False,
) -> DatasetCard:
    """Validate the rows of a file, or rows that are scanned elsewhere, and keep the good ones under `datasets`. Each is
    read once and written once. The same rows again give the card already stored, with the report of this `source`.

    Raises:
        InvalidDataset: a row is bad and `skip_bad_rows` is off, or none is good. `extra["report"]` has the report.
        StorageFull: no space is left.
    """
    validation = Validation(context_length)
    good = validation.good_rows(scan_rows(source) if isinstance(source, Path) else source)
    with storage_errors(datasets / name):
        datasets.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=datasets, prefix=_STAGING))
    try:
        rows = staging / ROWS_FILE
        sha256 = write_rows(rows, (row for row in good if skip_bad_rows or not validation.errors))
        report = validation.report()
        if report.statistics.rows == 0 or (report.errors and not skip_bad_rows):
            raise InvalidDataset(_refusal(report), param="rows", extra={"report": report.model_dump(mode="json")})
        dataset_id = dataset_id_of(sha256)
        if card := bundled_card(dataset_id):
            return card.model_copy(update={"report": report})
        target = datasets / dataset_id
        if not (target / CARD_FILE).exists():
            card = DatasetCard(
                dataset_id=dataset_id,
                name=name,
                created_at=time.time(),
                size_bytes=rows.stat().st_size,
                report=report,
            )
            write_whole(staging / CARD_FILE, card.model_dump_json(indent=2))
            staging.chmod(0o755)
            try:
                staging.rename(target)
                sync_folder(datasets)
            except OSError:
                if not (target / CARD_FILE).exists():
                    raise
        stored = DatasetCard.model_validate_json((target / CARD_FILE).read_bytes())
        return stored.model_copy(update={"report": report})
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def scanned_body(body: BinaryIO, format: Format, datasets: Path) -> Iterator[Iterator[ScannedRow]]:
    """The rows of an upload while it is received. SQLite can't be read so: it is first written to a file in `datasets`.

    Raises `StorageFull`.
    """
    if format != "sqlite":
        yield scan_text(body, format, f"rows.{format}")
        return
    with storage_errors(datasets / "rows.sqlite"):
        datasets.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=datasets, prefix=".upload-") as folder:
            path = Path(folder) / "rows.sqlite"
            with path.open("wb") as file:
                shutil.copyfileobj(body, file)
            yield scan_rows(path)


def _refusal(report: ValidationReport) -> str:
    first = next(problem for problem in report.problems if not problem.kind.is_warning)
    if report.errors == 1:
        return f"Line {first.line}: {first.message}"
    return f"{report.errors} rows are bad, so nothing was stored; the first is line {first.line}: {first.message}"
