"""The states of a run: only the edges of the table exist, and only a run's holder takes them."""

import itertools
import os

import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rq import Queue

from tests.conftest import examples
from tests.runtime.conftest import (
    LEASE_SECONDS,
    at_once,
    new_run,
    reported_states,
    started,
)
from tinygpt.contracts.errors import Conflict, LeaseLost
from tinygpt.contracts.runs import TRANSITIONS, RunState
from tinygpt.runtime.lease import Lease, lease_key
from tinygpt.runtime.runs import RunStore

_MOVES = st.lists(
    st.sampled_from(["start", "cancel", "succeed", "fail", "finish_cancelled", "requeue", "lapse", "recover"]),
    max_size=12,
)


@hypothesis_settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
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
                case "requeue" if lease:
                    runs.requeue(lease)
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
    reported = [RunState(name) for name in reported_states(runs, run_id)]
    assert reported[0] is RunState.QUEUED
    assert reported[-1] is state
    assert all(after in TRANSITIONS[before] for before, after in itertools.pairwise(reported))


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


def test_a_run_that_is_held_cannot_be_started_by_a_second_worker(runs: RunStore) -> None:
    run_id = new_run(runs)
    started(runs, run_id)
    assert runs.start(run_id, LEASE_SECONDS) is None
    assert runs.get(run_id).attempt == 1


def test_of_many_workersat_once_one_starts_the_run(runs: RunStore) -> None:
    for _ in range(5):
        run_id = new_run(runs)
        leases = at_once(6, lambda run_id=run_id: runs.start(run_id, LEASE_SECONDS))
        assert sum(lease is not None for lease in leases) == 1
        assert runs.get(run_id).attempt == 1


def test_a_worker_that_lost_its_run_can_neither_finish_it_nor_requeue_it(runs: RunStore, queue: Queue) -> None:
    run_id = new_run(runs)
    stalled = started(runs, run_id)
    runs.forget_lease(run_id, os.getpid())
    runs.recover()
    successor = started(runs, run_id)
    with pytest.raises(LeaseLost):
        runs.finish(stalled, RunState.SUCCEEDED)
    with pytest.raises(LeaseLost):
        runs.requeue(stalled)
    assert runs.get(run_id).state is RunState.RUNNING
    runs.finish(successor, RunState.SUCCEEDED)


def test_the_end_of_a_run_frees_its_lease(runs: RunStore, connection: redis.Redis) -> None:
    run_id = new_run(runs)
    runs.finish(started(runs, run_id), RunState.SUCCEEDED)
    assert not connection.exists(lease_key(run_id))
