"""Stored datasets: `<dataset_id>/rows.jsonl` and `card.json`, named by the hash of their rows and never changed.

The bundled datasets have such ids too, but are stored nowhere: their rows come with the installation.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tinygpt.contracts.datasets import DatasetCard, ValidationReport
from tinygpt.contracts.errors import InvalidDataset
from tinygpt.data.bundled import bundled_card, bundled_rows, dataset_id_of
from tinygpt.data.rows import Format, Row, scan_rows, write_rows
from tinygpt.data.validation import DEFAULT_CONTEXT_LENGTH, token_length, validate
from tinygpt.durable import sha256_of, storage_errors, sync_folder, write_whole

ROWS_FILE = "rows.jsonl"


def rows_of(datasets: Path, dataset_id: str, *, poll: Callable[[], object] = lambda: None) -> Path:
    """The rows of a dataset: those stored under `datasets`, or else the bundled ones of that id. Calls `poll` now and
    then if these must be grown first.

    Raises `InvalidDataset` if bundled rows are missing and can't be grown, or are not the pinned ones.
    """
    stored = datasets / dataset_id / ROWS_FILE
    return bundled_rows(dataset_id, poll=poll) if not stored.exists() and bundled_card(dataset_id) else stored


def store_dataset(
    datasets: Path,
    source: Path,
    *,
    name: str,
    format: Format | None = None,
    context_length: int = DEFAULT_CONTEXT_LENGTH,
    skip_bad_rows: bool = False,
) -> DatasetCard:
    """Validate `source` and keep its good rows under `datasets`; the same rows again give the card already stored,
    with the report of this `source`.

    Raises:
        InvalidDataset: a row is bad and `skip_bad_rows` is off, or none is good. `extra["report"]` has the report.
        StorageFull: no space is left.
    """
    report = validate(source, format=format, context_length=context_length)
    if report.statistics.rows == 0 or (report.errors and not skip_bad_rows):
        raise InvalidDataset(_refusal(report), param="rows", extra={"report": report.model_dump(mode="json")})
    with storage_errors(datasets / name):
        datasets.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=datasets, prefix=".incoming-"))
    try:
        rows = staging / ROWS_FILE
        write_rows(rows, _good_rows(source, format, context_length))
        dataset_id = dataset_id_of(sha256_of(rows))
        if card := bundled_card(dataset_id):
            return card.model_copy(update={"report": report})
        target = datasets / dataset_id
        if not (target / "card.json").exists():
            card = DatasetCard(
                dataset_id=dataset_id,
                name=name,
                created_at=time.time(),
                size_bytes=rows.stat().st_size,
                report=report,
            )
            write_whole(staging / "card.json", card.model_dump_json(indent=2))
            staging.chmod(0o755)
            try:
                staging.rename(target)
                sync_folder(datasets)
            except OSError:
                if not (target / "card.json").exists():
                    raise
        stored = DatasetCard.model_validate_json((target / "card.json").read_bytes())
        return stored.model_copy(update={"report": report})
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _good_rows(source: Path, format: Format | None, context_length: int) -> Iterator[Row]:
    for _, row in scan_rows(source, format):
        if isinstance(row, Row) and token_length(row) <= context_length:
            yield row


def _refusal(report: ValidationReport) -> str:
    first = next(problem for problem in report.problems if not problem.kind.is_warning)
    if report.errors == 1:
        return f"Line {first.line}: {first.message}"
    return f"{report.errors} rows are bad, so nothing was stored; the first is line {first.line}: {first.message}"
