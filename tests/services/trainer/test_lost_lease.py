"""A worker that loses its run while the model is judged or scored: it promotes nothing and records nothing."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.trainer import job
from services.trainer.job import run_training
from services.trainer.promotion import decide_promotion
from tests.services.conftest import ROWS, StoreModel
from tinygpt.contracts.runs import RunState, TrainRequest
from tinygpt.data.rows import write_rows
from tinygpt.data.store import store_dataset
from tinygpt.runtime.lease import Lease
from tinygpt.runtime.queue import connect, training_queue
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.settings import ENV_PREFIX, Settings
from tinygpt.runtime.volume import Volume

SHORT = {"preset": "quick-start", "context_length": 48, "batch_size": 2, "max_steps": 4, "promote": "always"}


@pytest.fixture
def runs(volume: Volume, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunStore]:
    """Of the Redis and the volume that a job finds in its environment."""
    values = {"home": str(volume.home), "redis_url": redis_url, "trainer_threads": "1", "lease_seconds": "30"}
    for name, value in values.items():
        monkeypatch.setenv(ENV_PREFIX + name.upper(), value)
    settings = Settings(_env_file=None, redis_url=redis_url)
    before = signal.getsignal(signal.SIGTERM)  # a job takes it for itself: in production it owns its process
    with connect(settings) as decoding, connect(settings, decode_responses=False) as plain:
        yield RunStore(decoding, training_queue(plain))
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def run_id(runs: RunStore, volume: Volume, tmp_path: Path) -> str:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    dataset_id = store_dataset(volume.datasets, tmp_path / "rows.jsonl", name="rows").dataset_id
    record, _ = runs.create(TrainRequest.model_validate(SHORT | {"dataset": dataset_id}), dataset_id)
    return record.run_id


@pytest.mark.parametrize("phase", ["decide_promotion", "score"])
def test_a_lease_lost_after_training_promotes_nothing(
    runs: RunStore, volume: Volume, run_id: str, store_model: StoreModel, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    volume.promote(store_model("r-served"))
    successor: list[Lease | None] = []
    original: Callable[..., Any] = getattr(job, phase)

    def take_over_then(*arguments: Any) -> Any:
        result = original(*arguments)
        runs.forget_lease(run_id, os.getpid())
        runs.recover()
        successor.append(runs.start(run_id, 60))
        return result

    monkeypatch.setattr(job, phase, take_over_then)
    run_training(run_id)

    current = volume.current()
    assert current is not None
    assert current.run_id == "r-served"
    assert not (volume.run(run_id) / "manifest.json").exists()
    record = runs.get(run_id)
    assert (record.state, record.attempt) == (RunState.RUNNING, 2)
    assert record.metrics is None
    assert successor[0] is not None
    successor[0].verify()


def test_a_run_is_promoted_before_it_is_recorded_as_succeeded(
    runs: RunStore, volume: Volume, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for `succeeded` finds the manifest and the promotion in place."""
    served: list[str | None] = []
    finish = RunStore.finish

    def look_then_finish(store: RunStore, lease: Lease, state: RunState, **outcome: Any) -> None:
        current = volume.current()
        served.append(current.run_id if current else None)
        assert volume.manifest(run_id).run_id == run_id
        finish(store, lease, state, **outcome)

    monkeypatch.setattr(RunStore, "finish", look_then_finish)
    run_training(run_id)

    assert served == [run_id]
    assert runs.get(run_id).state is RunState.SUCCEEDED


def test_a_run_cancelled_while_its_model_is_judged_is_not_promoted(
    runs: RunStore, volume: Volume, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancel_then_judge(*arguments: Any) -> Any:
        runs.cancel(run_id)
        monkeypatch.setattr("services.trainer.reporter._POLL_SECONDS", 0.0)
        arguments[-1]()  # as between two batches of a longer judgement
        return decide_promotion(*arguments)

    monkeypatch.setattr(job, "decide_promotion", cancel_then_judge)
    run_training(run_id)

    assert runs.get(run_id).state is RunState.CANCELLED
    assert volume.current() is None
    assert not (volume.run(run_id) / "manifest.json").exists()
