"""What Redis keeps of a run, and for how long."""

import pytest
import redis

from tinygpt.contracts.errors import Conflict
from tinygpt.contracts.runs import RunState, TrainRequest
from tinygpt.runtime.lease import Lease, lease_key
from tinygpt.runtime.runs import RunStore

DAY = 24 * 3600


def new_run(runs: RunStore, **settings: str) -> str:
    return runs.create(TrainRequest(), "d-1", **settings)[0].run_id  # type: ignore[arg-type]


def started(runs: RunStore, run_id: str, seconds: float = 30.0) -> Lease:
    lease = runs.start(run_id, seconds)
    assert lease is not None
    return lease


def test_an_idempotency_key_is_forgotten_after_a_day(runs: RunStore, connection: redis.Redis) -> None:
    first = new_run(runs, idempotency_key="k")
    (key,) = connection.keys("*idempotency*")

    assert DAY - 60 < connection.ttl(key) <= DAY
    connection.expire(key, 0)
    assert new_run(runs, idempotency_key="k") != first


def test_a_key_used_for_the_same_request_on_another_dataset_is_a_conflict(runs: RunStore) -> None:
    first, _ = runs.create(TrainRequest(), "d-1", idempotency_key="k")

    with pytest.raises(Conflict, match=first.run_id) as caught:
        runs.create(TrainRequest(), "d-2", idempotency_key="k")

    assert caught.value.param == "Idempotency-Key"
    assert len(runs.newest()) == 1


def test_keys_are_told_apart_and_a_run_without_one_is_always_new(runs: RunStore) -> None:
    ids = {new_run(runs, idempotency_key="k"), new_run(runs, idempotency_key="l"), new_run(runs), new_run(runs)}

    assert len(ids) == 4


@pytest.mark.parametrize("end", [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED])
def test_events_of_an_ended_run_are_kept_for_a_week(runs: RunStore, connection: redis.Redis, end: RunState) -> None:
    run_id = new_run(runs)
    lease = started(runs, run_id)
    (key,) = connection.keys(f"*events*{run_id}")
    assert connection.ttl(key) == -1

    runs.finish(lease, end)

    assert 7 * DAY - 60 < connection.ttl(key) <= 7 * DAY
    assert connection.ttl(f"tinygpt:run:{run_id}") == -1


def test_a_lease_lapses_after_its_own_seconds(runs: RunStore, connection: redis.Redis) -> None:
    run_id = new_run(runs)
    started(runs, run_id, seconds=12.5)

    assert 11_000 < connection.pttl(lease_key(run_id)) <= 12_500


def test_the_lease_of_a_run_returned_to_the_queue_is_free(runs: RunStore, connection: redis.Redis) -> None:
    run_id = new_run(runs)
    runs.requeue(started(runs, run_id))

    assert not connection.exists(lease_key(run_id))
    assert runs.active_count() == 1
