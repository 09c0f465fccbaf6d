"""The life of a run in Redis: the edges between its states, idempotency, limits, recovery, events."""

import itertools
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rq import Queue

from tests.conftest import wait_until
from tinygpt.contracts.errors import Conflict, LeaseLost, NotFound, QueueFull, TinyGPTError
from tinygpt.contracts.runs import TRANSITIONS, Progress, RunEvent, RunState, TrainRequest
from tinygpt.runtime.lease import Lease, lease_key
from tinygpt.runtime.runs import MAX_ATTEMPTS, RunStore

REQUEST = TrainRequest()
DATASET = "d-0123456789abcdef"
LEASE_SECONDS = 30.0


def new_run(runs: RunStore, **options: Any) -> str:
    record, _ = runs.create(REQUEST, DATASET, **options)
    return record.run_id


def started(runs: RunStore, run_id: str) -> Lease:
    lease = runs.start(run_id, LEASE_SECONDS)
    assert lease is not None
    return lease


def lose_worker(runs: RunStore, queue: Queue, run_id: str) -> None:
    """A worker took the job and the run, and was never heard of again."""
    queue.remove(run_id)
    started(runs, run_id)
    runs.forget_lease(run_id, os.getpid())


def states_told(runs: RunStore, run_id: str) -> list[str]:
    return [event.data["state"] for event in runs.events(run_id) if event.type == "state"]


# -- edges


_MOVES = st.lists(
    st.sampled_from(["start", "cancel", "succeed", "fail", "finish_cancelled", "give_back", "lapse", "recover"]),
    max_size=12,
)


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(moves=_MOVES)
def test_only_the_edges_of_transitions_exist(moves: list[str], runs: RunStore) -> None:
    run_id = new_run(runs)
    lease: Lease | None = None
    state = RunState.QUEUED
    for move in moves:
        try:
            match move:
                case "start":
                    lease = runs.start(run_id, LEASE_SECONDS) or lease
                case "cancel":
                    runs.cancel(run_id)
                case "succeed" if lease:
                    runs.finish(lease, RunState.SUCCEEDED)
                case "fail" if lease:
                    runs.finish(lease, RunState.FAILED)
                case "finish_cancelled" if lease:
                    runs.finish(lease, RunState.CANCELLED)
                case "give_back" if lease:
                    runs.give_back(lease)
                case "lapse":
                    runs.forget_lease(run_id, os.getpid())
                case "recover":
                    runs.recover()
        except (LeaseLost, Conflict):
            assert runs.get(run_id).state is state, f"{move} was refused, yet changed the state"
        now = runs.get(run_id).state
        assert now is state or now in TRANSITIONS[state], f"{state} -> {now} by {move}"
        state = now
        active = {record.run_id for record in runs.active()}
        assert (run_id in active) is not state.is_final
    told = [RunState(name) for name in states_told(runs, run_id)]
    assert told[0] is RunState.QUEUED
    assert told[-1] is state
    assert all(after in TRANSITIONS[before] for before, after in itertools.pairwise(told))


@pytest.mark.parametrize("end", [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED])
def test_an_ended_run_stays_as_it_ended(runs: RunStore, end: RunState) -> None:
    run_id = new_run(runs)
    runs.finish(started(runs, run_id), end)
    assert runs.start(run_id, LEASE_SECONDS) is None
    with pytest.raises(Conflict, match="already"):
        runs.cancel(run_id)
    assert runs.recover() == []
    assert runs.get(run_id).state is end
    assert runs.active_count() == 0


# -- create


def test_a_new_run_is_recorded_and_its_job_waits_in_the_queue(runs: RunStore, queue: Queue) -> None:
    record, new = runs.create(REQUEST, DATASET)
    assert new
    assert runs.get(record.run_id) == record
    assert queue.get_job_ids() == [record.run_id]
    job = queue.fetch_job(record.run_id)
    assert job is not None
    assert job.args == [record.run_id]
    assert states_told(runs, record.run_id) == ["queued"]


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


def _at_once(count: int, work: Any) -> list[Any]:
    gate = threading.Barrier(count)

    def one(_: int) -> Any:
        gate.wait()
        try:
            return work()
        except TinyGPTError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_one_key_sent_many_times_at_once_makes_one_run_and_one_job(runs: RunStore, queue: Queue) -> None:
    for attempt in range(10):
        key = f"k{attempt}"
        made = _at_once(8, lambda key=key: runs.create(REQUEST, DATASET, idempotency_key=key))
        assert len({record.run_id for record, _ in made}) == 1
        assert [new for _, new in made].count(True) == 1
    assert len(queue.get_job_ids()) == 10


def test_posts_at_once_never_pass_the_limit(runs: RunStore) -> None:
    for _ in range(5):
        made = _at_once(8, lambda: runs.create(REQUEST, DATASET, max_active=3))
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


# -- cancel


def test_a_queued_run_is_cancelled_at_once_and_its_job_leaves_the_queue(runs: RunStore, queue: Queue) -> None:
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


# -- start and finish


def test_a_run_that_is_held_cannot_be_started_by_a_second_worker(runs: RunStore) -> None:
    run_id = new_run(runs)
    started(runs, run_id)
    assert runs.start(run_id, LEASE_SECONDS) is None
    assert runs.get(run_id).attempt == 1


def test_of_many_workers_at_once_one_starts_the_run(runs: RunStore) -> None:
    for _ in range(5):
        run_id = new_run(runs)
        leases = _at_once(6, lambda run_id=run_id: runs.start(run_id, LEASE_SECONDS))
        assert sum(lease is not None for lease in leases) == 1
        assert runs.get(run_id).attempt == 1


def test_a_worker_that_lost_its_run_can_neither_finish_it_nor_give_it_back(runs: RunStore, queue: Queue) -> None:
    run_id = new_run(runs)
    stalled = started(runs, run_id)
    runs.forget_lease(run_id, os.getpid())
    runs.recover()
    successor = started(runs, run_id)
    with pytest.raises(LeaseLost):
        runs.finish(stalled, RunState.SUCCEEDED)
    with pytest.raises(LeaseLost):
        runs.give_back(stalled)
    assert runs.get(run_id).state is RunState.RUNNING
    runs.finish(successor, RunState.SUCCEEDED)


def test_the_end_of_a_run_frees_its_lease(runs: RunStore, connection: redis.Redis) -> None:
    run_id = new_run(runs)
    runs.finish(started(runs, run_id), RunState.SUCCEEDED)
    assert not connection.exists(lease_key(run_id))


# -- recover


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


def test_workers_that_recover_at_once_queue_a_lost_run_once(runs: RunStore, queue: Queue) -> None:
    run_id = new_run(runs)
    lose_worker(runs, queue, run_id)
    _at_once(6, runs.recover)
    assert queue.get_job_ids() == [run_id]


def test_a_queued_run_whose_job_was_lost_gets_a_new_one(runs: RunStore, queue: Queue, connection: redis.Redis) -> None:
    run_id = new_run(runs)
    queue.remove(run_id)
    assert runs.recover() == [], "a job on its way from the queue to a worker is not lost yet"
    connection.hset(f"tinygpt:run:{run_id}", "enqueued_at", str(time.time() - 60))
    assert [record.run_id for record in runs.recover()] == [run_id]
    assert queue.get_job_ids() == [run_id]


def test_workers_that_recover_at_once_replace_a_lost_job_once(
    runs: RunStore, queue: Queue, connection: redis.Redis
) -> None:
    for _ in range(10):
        run_id = new_run(runs)
        queue.remove(run_id)
        connection.hset(f"tinygpt:run:{run_id}", "enqueued_at", str(time.time() - 60))
        _at_once(6, runs.recover)
        assert queue.get_job_ids() == [run_id]
        runs.cancel(run_id)


def test_a_run_given_back_is_queued_again_without_counting_the_attempt(runs: RunStore, queue: Queue) -> None:
    run_id = new_run(runs)
    queue.remove(run_id)
    runs.give_back(started(runs, run_id))
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


def test_a_run_given_back_after_its_cancellation_was_asked_for_ends_cancelled(runs: RunStore, queue: Queue) -> None:
    run_id = new_run(runs)
    queue.remove(run_id)
    lease = started(runs, run_id)
    runs.cancel(run_id)
    runs.give_back(lease)
    runs.recover()
    assert runs.get(run_id).state is RunState.CANCELLED
    assert queue.get_job_ids() == []


# -- events


def _progress(runs: RunStore, run_id: str, step: int) -> RunEvent:
    progress = Progress(step=step, elapsed_seconds=1.0)
    return runs.publish(run_id, RunEvent(type="progress", at=time.time(), data=progress.model_dump(mode="json")))


def test_events_after_an_id_are_exactly_those_that_came_later(runs: RunStore) -> None:
    run_id = new_run(runs)
    published = [_progress(runs, run_id, step) for step in range(5)]
    everything = list(runs.events(run_id))
    assert everything[1:] == published
    for position, event in enumerate(everything):
        assert list(runs.events(run_id, after=event.id)) == everything[position + 1 :]


def test_a_long_run_gives_all_its_events(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygpt.runtime.runs._EVENTS_A_READ", 10)
    run_id = new_run(runs)
    for step in range(25):
        _progress(runs, run_id, step)
    runs.finish(started(runs, run_id), RunState.SUCCEEDED)
    events = list(runs.events(run_id))
    assert len(events) == 28
    assert events[-1].data["state"] == "succeeded"


def test_progress_is_seen_in_the_record(runs: RunStore) -> None:
    run_id = new_run(runs)
    runs.set_progress(run_id, Progress(step=7, elapsed_seconds=1.5))
    progress = runs.get(run_id).progress
    assert progress is not None
    assert progress.step == 7
