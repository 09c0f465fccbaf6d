"""Runs whose worker or job was lost, and runs that a worker requeues."""

import time

import redis
from rq import Queue

from tests.conftest import wait_until
from tests.runtime.conftest import at_once, lose_worker, new_run, started
from tinygpt.contracts.runs import RunState
from tinygpt.runtime.runs import MAX_ATTEMPTS, RunStore


def test_a_run_whose_lease_lapsed_goes_back_to_the_queue_once(runs: RunStore, queue: Queue) -> None:
    run_id = new_run(runs)
    queue.remove(run_id)
    assert runs.start(run_id, 0.1) is not None
    wait_until(runs.recover, "the lease lapses")
    assert runs.get(run_id).state is RunState.QUEUED
    assert queue.get_job_ids() == [run_id]
    assert runs.recover() == []
    started(runs, run_id)
    assert runs.get(run_id).attempt == 2


def test_a_run_whose_worker_lives_is_left_alone(runs: RunStore) -> None:
    run_id = new_run(runs)
    started(runs, run_id)
    assert runs.recover() == []
    assert runs.get(run_id).state is RunState.RUNNING


def test_workers_that_recoverat_once_queue_a_lost_run_once(runs: RunStore, queue: Queue) -> None:
    run_id = new_run(runs)
    lose_worker(runs, queue, run_id)
    at_once(6, runs.recover)
    assert queue.get_job_ids() == [run_id]


def test_a_queued_run_whose_job_was_lost_gets_a_new_one(runs: RunStore, queue: Queue, connection: redis.Redis) -> None:
    run_id = new_run(runs)
    queue.remove(run_id)
    assert runs.recover() == [], "a job on its way from the queue to a worker is not lost yet"
    connection.hset(f"tinygpt:run:{run_id}", "enqueued_at", str(time.time() - 60))
    assert [record.run_id for record in runs.recover()] == [run_id]
    assert queue.get_job_ids() == [run_id]


def test_workers_that_recoverat_once_replace_a_lost_job_once(
    runs: RunStore, queue: Queue, connection: redis.Redis
) -> None:
    for _ in range(10):
        run_id = new_run(runs)
        queue.remove(run_id)
        connection.hset(f"tinygpt:run:{run_id}", "enqueued_at", str(time.time() - 60))
        at_once(6, runs.recover)
        assert queue.get_job_ids() == [run_id]
        runs.cancel(run_id)


def test_a_requeued_run_is_queued_again_without_counting_the_attempt(runs: RunStore, queue: Queue) -> None:
    run_id = new_run(runs)
    queue.remove(run_id)
    runs.requeue(started(runs, run_id))
    assert (runs.get(run_id).state, runs.get(run_id).attempt) == (RunState.QUEUED, 0)
    runs.recover()
    assert queue.get_job_ids() == [run_id]


def test_a_run_that_loses_its_worker_too_often_fails_with_advice(runs: RunStore, queue: Queue) -> None:
    run_id = new_run(runs)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert runs.get(run_id).state is RunState.QUEUED
        lose_worker(runs, queue, run_id)
        assert runs.get(run_id).attempt == attempt
        runs.recover()
    record = runs.get(run_id)
    assert record.state is RunState.FAILED
    assert record.error is not None
    assert record.error.code == "worker_lost"
    assert "smaller" in record.error.message
    assert queue.get_job_ids() == []


def test_a_run_cancelled_while_its_worker_was_lost_ends_cancelled(runs: RunStore, queue: Queue) -> None:
    run_id = new_run(runs)
    lose_worker(runs, queue, run_id)
    runs.cancel(run_id)
    assert [record.state for record in runs.recover()] == [RunState.CANCELLED]
    assert queue.get_job_ids() == []


def test_a_run_requeued_after_its_cancellation_was_asked_for_ends_cancelled(runs: RunStore, queue: Queue) -> None:
    run_id = new_run(runs)
    queue.remove(run_id)
    lease = started(runs, run_id)
    runs.cancel(run_id)
    runs.requeue(lease)
    runs.recover()
    assert runs.get(run_id).state is RunState.CANCELLED
    assert queue.get_job_ids() == []
