"""From a training request to a stored dataset: the bundled one, one uploaded before, or the rows in the body."""

from collections.abc import Sequence

from tinygpt.contracts.datasets import DatasetCard, RowIn
from tinygpt.contracts.errors import InvalidDataset
from tinygpt.contracts.runs import TrainRequest
from tinygpt.data.bundled import bundled_card
from tinygpt.data.rows import row_from, stream_rows
from tinygpt.data.split import normalise
from tinygpt.data.store import ROWS_FILE, store_dataset
from tinygpt.data.validation import DEFAULT_CONTEXT_LENGTH
from tinygpt.runtime.volume import Volume


def stored_dataset(volume: Volume, request: TrainRequest) -> str:
    """The id of the dataset to train on. Rows in the body are stored; the bundled rows need not be.

    Raises `InvalidDataset` (bad rows, or too few), `NotFound`, `StorageFull`.
    """
    if request.rows is not None:
        card = _store_body_rows(volume, request.rows, request.context_length or DEFAULT_CONTEXT_LENGTH)
    elif bundled := bundled_card(request.dataset):
        return bundled.dataset_id
    else:
        card = volume.card(request.dataset)
    if not _has_two_prompts(volume, card):
        raise InvalidDataset(
            "At least two different prompts are needed, one to learn from and one to test with.",
            param="rows" if request.rows else "dataset",
        )
    return card.dataset_id


def _store_body_rows(volume: Volume, rows: Sequence[RowIn], context_length: int) -> DatasetCard:
    scanned = ((i, row_from(row.model_dump(), i)) for i, row in enumerate(rows, start=1))
    return store_dataset(volume.datasets, scanned, name="request-body", context_length=context_length)


def _has_two_prompts(volume: Volume, card: DatasetCard) -> bool:
    if card.report.statistics.distinct_prompts:
        return card.report.statistics.distinct_prompts > 1
    # The card is from a version that did not count them.
    prompts = (normalise(row.prompt) for row in stream_rows(volume.dataset(card.dataset_id) / ROWS_FILE))
    first = next(prompts)
    return any(prompt != first for prompt in prompts)
