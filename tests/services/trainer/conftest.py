"""A training job in this process, on a real Redis and a real volume."""

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.trainer.job import run_training
from services.trainer.settings import TrainerSettings
from tests.conftest import wait_until
from tests.services.conftest import ROWS
from tinygpt.contracts.runs import RunRecord, TrainRequest
from tinygpt.data.rows import write_rows
from tinygpt.data.store import store_dataset
from tinygpt.runtime.queue import connect, training_queue
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.settings import ENV_PREFIX
from tinygpt.runtime.volume import Volume

SHORT = {"preset": "quick-start", "context_length": 48, "batch_size": 2, "max_steps": 12, "promote": "never"}

ENDLESS = SHORT | {"max_steps": 1_000_000}


@pytest.fixture
def settings(volume: Volume, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> TrainerSettings:
    """In the environment too: that is where a job reads them."""
    values = {"home": str(volume.home), "redis_url": redis_url, "trainer_threads": "1", "lease_seconds": "5"}
    for name, value in values.items():
        monkeypatch.setenv(ENV_PREFIX + name.upper(), value)
    return TrainerSettings()


@pytest.fixture
def runs(settings: TrainerSettings) -> Iterator[RunStore]:
    with connect(settings) as decoding, connect(settings, decode_responses=False) as plain:
        yield RunStore(decoding, training_queue(plain))


@pytest.fixture(autouse=True)
def restored_signals() -> Iterator[None]:
    """A job takes SIGTERM for itself: in production it owns its process."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def dataset(volume: Volume, tmp_path: Path) -> str:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    return store_dataset(volume.datasets, tmp_path / "rows.jsonl", name="rows").dataset_id


NewRun = Callable[..., str]


@pytest.fixture
def new_run(runs: RunStore, dataset: str) -> NewRun:
    def create(**request: Any) -> str:
        record, _ = runs.create(TrainRequest.model_validate(SHORT | {"dataset": dataset} | request), dataset)
        return record.run_id

    return create


def when(condition: Callable[[], object], then: Callable[[], object]) -> threading.Thread:
    """Do `then` from another thread once `condition` holds, while this one trains."""

    def watch() -> None:
        wait_until(condition, "the job gets there")
        then()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def steps_reported(runs: RunStore, run_id: str) -> list[int]:
    return [event.data["step"] for event in runs.events(run_id) if event.type != "state"]


def trained(runs: RunStore, run_id: str) -> RunRecord:
    run_training(run_id)
    return runs.get(run_id)
