"""Another worker comes between a look at a run and what is then written: what it did must stand."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import redis
from rq import Queue

from tinygpt.contracts.errors import Conflict, LeaseLost
from tinygpt.contracts.runs import RunState, TrainRequest
from tinygpt.runtime.lease import Lease, lease_key
from tinygpt.runtime.queue import connect, training_queue
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.settings import Settings

DATASET = "d-1"
LEASE_SECONDS = 30.0


class Between:
    """Lets `other` act once, right after this connection's first answer to `command` about `key`."""

    def __init__(self, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        self._connection = connection
        self._monkeypatch = monkeypatch
        self.acted = False

    def after(self, command: str, key: str, other: Callable[[], object]) -> None:
        execute: Callable[..., Any] = self._connection.execute_command

        def watched(*arguments: Any, **options: Any) -> Any:
            answer = execute(*arguments, **options)
            if not self.acted and arguments[0] == command and key in arguments:
                self.acted = True
                other()
            return answer

        self._monkeypatch.setattr(self._connection, "execute_command", watched)


@pytest.fixture
def between(connection: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Between:
    return Between(connection, monkeypatch)


@pytest.fixture
def other(settings: Settings) -> RunStore:
    """The store of another worker, with connections of its own."""
    return RunStore(connect(settings), training_queue(connect(settings, decode_responses=False)))


def new_run(runs: RunStore) -> str:
    return runs.create(TrainRequest(), DATASET)[0].run_id


def started(runs: RunStore, run_id: str) -> Lease:
    lease = runs.start(run_id, LEASE_SECONDS)
    assert lease is not None
    return lease


def test_a_requeue_leaves_a_run_that_another_worker_took_meanwhile(
    runs: RunStore, other: RunStore, queue: Queue, between: Between
) -> None:
    run_id = new_run(runs)
    queue.remove(run_id)
    started(runs, run_id)
    runs.forget_lease(run_id, os.getpid())
    successor: list[Lease] = []

    def take_over() -> None:
        other.recover()
        successor.append(started(other, run_id))

    between.after("EXISTS", lease_key(run_id), take_over)
    runs.recover()

    assert between.acted
    assert runs.get(run_id).state is RunState.RUNNING
    successor[0].verify()
    other.finish(successor[0], RunState.SUCCEEDED)
    assert runs.get(run_id).state is RunState.SUCCEEDED


def test_a_queued_run_to_be_cancelled_is_left_to_the_worker_that_took_it_meanwhile(
    runs: RunStore, other: RunStore, between: Between
) -> None:
    run_id = new_run(runs)
    lease = started(runs, run_id)
    runs.cancel(run_id)
    runs.requeue(lease)
    successor: list[Lease] = []

    between.after("HGETALL", f"tinygpt:run:{run_id}", lambda: successor.append(started(other, run_id)))
    runs.recover()

    assert between.acted
    assert runs.get(run_id).state is RunState.RUNNING
    other.finish(successor[0], RunState.CANCELLED)


def test_a_run_that_a_worker_takes_while_it_is_cancelled_is_asked_to_stop(
    runs: RunStore, other: RunStore, between: Between
) -> None:
    run_id = new_run(runs)
    leases: list[Lease] = []

    between.after("HGETALL", f"tinygpt:run:{run_id}", lambda: leases.append(started(other, run_id)))
    record = runs.cancel(run_id)

    assert between.acted
    assert (record.state, record.cancel_requested) == (RunState.RUNNING, True)
    leases[0].verify()


def test_a_run_that_ends_while_it_is_cancelled_is_a_conflict(runs: RunStore, other: RunStore, between: Between) -> None:
    run_id = new_run(runs)
    lease = started(runs, run_id)

    between.after("HGETALL", f"tinygpt:run:{run_id}", lambda: other.finish(lease, RunState.SUCCEEDED))
    with pytest.raises(Conflict, match="already succeeded"):
        runs.cancel(run_id)

    assert between.acted
    assert not runs.get(run_id).cancel_requested


def test_a_start_that_comes_too_late_takes_nothing_from_the_run_that_ended(
    runs: RunStore, other: RunStore, between: Between
) -> None:
    run_id = new_run(runs)

    between.after("HGETALL", f"tinygpt:run:{run_id}", lambda: other.cancel(run_id))
    assert runs.start(run_id, LEASE_SECONDS) is None

    assert between.acted
    assert runs.get(run_id).state is RunState.CANCELLED
    assert runs.get(run_id).attempt == 0


def test_the_end_of_a_run_is_refused_once_its_lease_has_lapsed(
    runs: RunStore, other: RunStore, queue: Queue, connection: redis.Redis
) -> None:
    """Though no other worker has it yet."""
    run_id = new_run(runs)
    queue.remove(run_id)
    lease = started(runs, run_id)
    connection.delete(lease_key(run_id))

    with pytest.raises(LeaseLost):
        runs.finish(lease, RunState.SUCCEEDED)

    assert runs.get(run_id).state is RunState.RUNNING
    assert [record.run_id for record in other.recover()] == [run_id]


def test_a_repeated_key_that_meets_its_first_run_halfway_gives_that_run(
    runs: RunStore, other: RunStore, queue: Queue, between: Between
) -> None:
    first: list[str] = []

    def create_first() -> None:
        first.append(other.create(TrainRequest(), DATASET, idempotency_key="k")[0].run_id)

    between.after("GET", "tinygpt:idempotency:k", create_first)
    record, new = runs.create(TrainRequest(), DATASET, idempotency_key="k")

    assert between.acted
    assert (record.run_id, new) == (first[0], False)
    assert queue.get_job_ids() == first
