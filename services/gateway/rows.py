"""From a training request to a stored dataset: the bundled one, one uploaded before, or the rows in the body."""

import tempfile
from pathlib import Path

from tinygpt.contracts.datasets import DatasetCard
from tinygpt.contracts.errors import InvalidDataset
from tinygpt.contracts.runs import TrainRequest
from tinygpt.data.bundled import bundled_card
from tinygpt.data.rows import Row, stream_rows, write_rows
from tinygpt.data.split import normalise
from tinygpt.data.store import store_dataset
from tinygpt.data.validation import DEFAULT_CONTEXT_LENGTH
from tinygpt.durable import storage_errors
from tinygpt.runtime.volume import Volume


def stored_dataset(volume: Volume, request: TrainRequest) -> str:
    """The id of the dataset to train on. Rows in the body are stored; the bundled rows need not be.

    Raises `InvalidDataset` (bad rows, or too few), `NotFound`, `StorageFull`.
    """
    context_length = request.context_length or DEFAULT_CONTEXT_LENGTH
    if request.rows is not None:
        rows = [Row(row.prompt, row.code, row.model_extra or {}) for row in request.rows]
        card = _store_rows(volume, rows, context_length)
    elif bundled := bundled_card(request.dataset):
        return bundled.dataset_id
    else:
        card = volume.card(request.dataset)
    prompts = (normalise(row.prompt) for row in stream_rows(volume.dataset(card.dataset_id) / "rows.jsonl"))
    first = next(prompts)
    if all(prompt == first for prompt in prompts):
        raise InvalidDataset(
            "At least two different prompts are needed, one to learn from and one to test with.",
            param="rows" if request.rows else "dataset",
        )
    return card.dataset_id


def _store_rows(volume: Volume, rows: list[Row], context_length: int) -> DatasetCard:
    with storage_errors(volume.datasets):
        volume.datasets.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=volume.datasets, prefix=".body-") as folder:
        path = Path(folder) / "rows.jsonl"
        write_rows(path, rows)
        return store_dataset(volume.datasets, path, name="request-body", context_length=context_length)
