"""Runs on a bundled dataset: its rows come from the installation, or from a volume where an older version put them."""

from pathlib import Path

import pytest

from tests.services.conftest import ROWS
from tests.services.trainer.conftest import SHORT, trained
from tinygpt.contracts.runs import RunState, TrainRequest
from tinygpt.data.bundled import bundled_card
from tinygpt.data.rows import read_rows, write_rows
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.volume import Volume


@pytest.fixture
def run_id(runs: RunStore) -> str:
    """A run on the rows written by hand."""
    record, _ = runs.create(TrainRequest.model_validate(SHORT | {"dataset": "curated"}), curated_id())
    return record.run_id


def curated_id() -> str:
    card = bundled_card("curated")
    assert card is not None
    return card.dataset_id


def training_rows(volume: Volume, run_id: str) -> int:
    return len(read_rows(volume.run(run_id) / "training_rows.jsonl"))


def test_bundled_rows_are_read_from_the_installation_and_not_stored(
    runs: RunStore, volume: Volume, run_id: str
) -> None:
    assert trained(runs, run_id).state is RunState.SUCCEEDED
    assert training_rows(volume, run_id) > 1000
    assert [path.name for path in volume.dataset(curated_id()).iterdir()] == ["tokens"]


def test_rows_that_an_older_version_stored_are_used(runs: RunStore, volume: Volume, run_id: str) -> None:
    write_rows(volume.dataset(curated_id()) / "rows.jsonl", ROWS)

    assert trained(runs, run_id).state is RunState.SUCCEEDED
    assert training_rows(volume, run_id) < len(ROWS)


def test_rows_that_are_nowhere_fail_the_run_with_one_sentence(runs: RunStore, volume: Volume, tmp_path: Path) -> None:
    record, _ = runs.create(TrainRequest.model_validate(SHORT), "d-0123456789abcdef")
    ended = trained(runs, record.run_id)

    assert ended.state is RunState.FAILED
    assert ended.error is not None
    assert "d-0123456789abcdef" in ended.error.message
