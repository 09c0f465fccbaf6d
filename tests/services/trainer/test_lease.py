"""Only the holder of a run's lease writes, and Redis may be away for a moment."""

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import redis

from services.trainer.job import run_training
from services.trainer.promotion import decide_promotion
from services.trainer.reporter import RunReporter
from services.trainer.settings import TrainerSettings
from tests.conftest import free_port, running_redis, wait_until
from tests.services.trainer.conftest import ENDLESS, SHORT, NewRun, steps_reported, trained, when
from tinygpt.contracts.errors import LeaseLost
from tinygpt.contracts.models import LAST_CHECKPOINT
from tinygpt.contracts.runs import Progress, Promotion, RunState, TrainRequest
from tinygpt.runtime.queue import connect, training_queue
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.volume import Volume


def test_a_run_that_is_no_longer_queued_is_left_alone(runs: RunStore, new_run: NewRun, volume: Volume) -> None:
    run_id = new_run()
    runs.cancel(run_id)
    assert trained(runs, run_id).state is RunState.CANCELLED
    assert not volume.run(run_id).exists()


def test_a_worker_that_lost_its_lease_stops_and_changes_nothing_more(
    runs: RunStore, new_run: NewRun, volume: Volume
) -> None:
    run_id = new_run(**ENDLESS)
    successor: list[object] = []

    def take_over() -> None:
        runs.forget_lease(run_id, os.getpid())
        runs.recover()
        successor.append(runs.start(run_id, 60))

    thread = when(lambda: steps_reported(runs, run_id), take_over)
    record = trained(runs, run_id)
    thread.join()
    assert successor[0] is not None
    assert (record.state, record.attempt) == (RunState.RUNNING, 2)
    assert not (volume.run(run_id) / LAST_CHECKPOINT).exists()


def test_a_checkpoint_is_refused_the_moment_the_lease_is_anothers(
    runs: RunStore, new_run: NewRun, tmp_path: Path
) -> None:
    run_id = new_run()
    stalled = runs.start(run_id, 60)
    assert stalled is not None
    reporter = RunReporter(runs, stalled, tmp_path / "events.jsonl")
    reporter.before_write()
    runs.forget_lease(run_id, os.getpid())
    runs.recover()
    assert runs.start(run_id, 60) is not None
    with pytest.raises(LeaseLost):
        reporter.before_write()


def test_a_process_that_was_stopped_for_long_reports_nothing_more(
    runs: RunStore, new_run: NewRun, tmp_path: Path
) -> None:
    run_id = new_run()
    stopped = runs.start(run_id, 0.2)
    assert stopped is not None
    reporter = RunReporter(runs, stopped, tmp_path / "events.jsonl")
    wait_until(lambda: runs.recover() or runs.get(run_id).state is RunState.QUEUED, "the lease lapses")
    assert runs.start(run_id, 60) is not None
    with pytest.raises(LeaseLost):
        reporter.on_step(Progress(step=1, elapsed_seconds=1.0))
    assert runs.get(run_id).progress is None
    assert not (tmp_path / "events.jsonl").exists()


def test_redis_away_for_a_moment_at_the_end_of_a_run_is_no_failure(
    volume: Volume, dataset: str, settings: TrainerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, port = tmp_path / "redis", free_port()
    folder.mkdir()
    monkeypatch.setenv("TINYGPT_REDIS_URL", f"redis://127.0.0.1:{port}/0")
    monkeypatch.setenv("TINYGPT_LEASE_SECONDS", "60")  # longer than the untrained model is scored for
    own = TrainerSettings()
    with (
        contextlib.ExitStack() as first,
        contextlib.ExitStack() as second,
        connect(own) as decoding,
        connect(own, decode_responses=False) as plain,
    ):
        first.enter_context(running_redis(folder, port))
        runs = RunStore(decoding, training_queue(plain))
        run_id = runs.create(TrainRequest.model_validate(SHORT), dataset)[0].run_id

        lost = threading.Event()

        def decide_and_lose_redis(*args: Any) -> Promotion:
            first.close()
            lost.set()
            return decide_promotion(*args)

        monkeypatch.setattr("services.trainer.job.decide_promotion", decide_and_lose_redis)

        def come_back() -> None:
            for _ in range(6):  # long enough for a client that asks just once to have given up
                assert not _answers(decoding)
            second.enter_context(running_redis(folder, port))

        back = when(lost.is_set, come_back)
        run_training(run_id)
        back.join()
        assert runs.get(run_id).state is RunState.SUCCEEDED


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
