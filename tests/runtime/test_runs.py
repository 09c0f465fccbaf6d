"""Runs in Redis: creating, listing and cancelling them, idempotency keys, the limit on runs."""

import pytest
from rq import Queue

from tests.runtime.conftest import DATASET, LEASE_SECONDS, REQUEST, at_once, new_run, reported_states, started
from tinygpt.contracts.errors import Conflict, NotFound, QueueFull
from tinygpt.contracts.runs import RunState, TrainRequest
from tinygpt.runtime.runs import RunStore


def test_a_new_run_is_recorded_and_its_job_waits_in_the_queue(runs: RunStore, queue: Queue) -> None:
    record, new = runs.create(REQUEST, DATASET)
    assert new
    assert runs.get(record.run_id) == record
    assert queue.get_job_ids() == [record.run_id]
    job = queue.fetch_job(record.run_id)
    assert job is not None
    assert job.args == [record.run_id]
    assert reported_states(runs, record.run_id) == ["queued"]


def test_the_same_idempotency_key_returns_the_first_run(runs: RunStore, queue: Queue) -> None:
    first, _ = runs.create(REQUEST, DATASET, idempotency_key="k")
    again, new = runs.create(REQUEST, DATASET, idempotency_key="k")
    assert (again, new) == (first, False)
    assert queue.get_job_ids() == [first.run_id]


def test_the_first_run_is_returned_even_when_the_queue_is_full_by_then(runs: RunStore) -> None:
    first, _ = runs.create(REQUEST, DATASET, idempotency_key="k", max_active=1)
    again, _ = runs.create(REQUEST, DATASET, idempotency_key="k", max_active=1)
    assert again.run_id == first.run_id


def test_a_key_used_for_another_request_is_a_conflict(runs: RunStore) -> None:
    runs.create(REQUEST, DATASET, idempotency_key="k")
    with pytest.raises(Conflict) as caught:
        runs.create(TrainRequest(seed=9), DATASET, idempotency_key="k")
    assert caught.value.param == "Idempotency-Key"


def test_a_key_that_was_refused_for_a_full_queue_works_later(runs: RunStore, queue: Queue) -> None:
    blocker = new_run(runs)
    with pytest.raises(QueueFull):
        runs.create(REQUEST, DATASET, idempotency_key="k", max_active=1)
    runs.cancel(blocker)
    record, new = runs.create(REQUEST, DATASET, idempotency_key="k", max_active=1)
    assert new
    assert queue.get_job_ids() == [record.run_id]


def test_a_full_queue_refuses_with_a_time_to_come_back(runs: RunStore) -> None:
    new_run(runs)
    started(runs, new_run(runs))
    with pytest.raises(QueueFull) as caught:
        runs.create(REQUEST, DATASET, max_active=2)
    assert caught.value.retry_after
    assert len(runs.newest()) == 2


def test_one_key_sent_many_timesat_once_makes_one_run_and_one_job(runs: RunStore, queue: Queue) -> None:
    for attempt in range(10):
        key = f"k{attempt}"
        made = at_once(8, lambda key=key: runs.create(REQUEST, DATASET, idempotency_key=key))
        assert len({record.run_id for record, _ in made}) == 1
        assert [new for _, new in made].count(True) == 1
    assert len(queue.get_job_ids()) == 10


def test_postsat_once_never_pass_the_limit(runs: RunStore) -> None:
    for _ in range(5):
        made = at_once(8, lambda: runs.create(REQUEST, DATASET, max_active=3))
        assert runs.active_count() == 3
        assert sum(isinstance(outcome, QueueFull) for outcome in made) == 5
        for record in runs.active():
            runs.cancel(record.run_id)


def test_newest_come_first(runs: RunStore) -> None:
    ids = [new_run(runs) for _ in range(3)]
    assert [record.run_id for record in runs.newest(2)] == ids[:0:-1]


def test_an_unknown_run_is_not_found(runs: RunStore) -> None:
    with pytest.raises(NotFound):
        runs.get("r-unknown")
    with pytest.raises(NotFound):
        runs.cancel("r-unknown")


def test_a_queued_run_is_cancelledat_once_and_its_job_leaves_the_queue(runs: RunStore, queue: Queue) -> None:
    run_id = new_run(runs)
    record = runs.cancel(run_id)
    assert record.state is RunState.CANCELLED
    assert record.ended_at is not None
    assert queue.get_job_ids() == []
    assert runs.start(run_id, LEASE_SECONDS) is None


def test_a_running_run_is_asked_to_stop(runs: RunStore) -> None:
    run_id = new_run(runs)
    lease = started(runs, run_id)
    assert not runs.cancel_requested(run_id)
    record = runs.cancel(run_id)
    assert (record.state, record.cancel_requested) == (RunState.RUNNING, True)
    assert runs.cancel_requested(run_id)
    runs.finish(lease, RunState.CANCELLED)
    with pytest.raises(Conflict, match="cancelled"):
        runs.cancel(run_id)
