"""The right to work on a run: one holder at a time, and a holder that stalled finds out."""

import os

import pytest
import redis

from tests.conftest import free_port, running_redis, wait_until
from tinygpt.contracts.errors import LeaseLost
from tinygpt.runtime.lease import Lease, forget_lease, lease_key
from tinygpt.runtime.queue import connect
from tinygpt.runtime.settings import Settings

RUN = "r-1"


def acquired(connection: redis.Redis, seconds: float) -> Lease:
    lease = Lease.acquire(connection, RUN, seconds)
    assert lease is not None
    return lease


def test_a_lease_has_one_holder(connection: redis.Redis) -> None:
    acquired(connection, 30)
    assert Lease.acquire(connection, RUN, 30) is None


def test_each_holder_has_a_larger_token_than_the_one_before(connection: redis.Redis) -> None:
    first = acquired(connection, 30)
    connection.delete(lease_key(RUN))
    assert acquired(connection, 30).token > first.token


def test_the_lease_of_a_dead_process_is_forgotten_and_no_other(connection: redis.Redis) -> None:
    lease = acquired(connection, 30)
    forget_lease(connection, RUN, os.getpid() + 1)
    lease.verify()

    forget_lease(connection, RUN, os.getpid())

    with pytest.raises(LeaseLost):
        lease.verify()


def test_a_lease_that_is_renewed_does_not_lapse(connection: redis.Redis) -> None:
    lease = acquired(connection, 60)
    connection.pexpire(lease_key(RUN), 20_000)
    lease.verify()
    assert connection.pttl(lease_key(RUN)) > 30_000


def test_it_is_renewed_after_a_third_of_its_time_and_not_before(connection: redis.Redis) -> None:
    lease = acquired(connection, 0.6)
    connection.pexpire(lease_key(RUN), 60_000)
    lease.renew_if_due()
    assert connection.pttl(lease_key(RUN)) > 600

    def renewed() -> bool:
        lease.renew_if_due()
        return connection.pttl(lease_key(RUN)) <= 600

    wait_until(renewed, "the lease is renewed", seconds=5)


def test_a_holder_that_stalled_cannot_renew_once_its_lease_lapsed(connection: redis.Redis) -> None:
    stalled = acquired(connection, 0.05)
    wait_until(lambda: not connection.exists(lease_key(RUN)), "the lease lapses")
    with pytest.raises(LeaseLost):
        stalled.verify()


def test_a_holder_that_stalled_cannot_renew_after_another_took_over(connection: redis.Redis) -> None:
    stalled = acquired(connection, 30)
    connection.delete(lease_key(RUN))
    successor = acquired(connection, 30)
    with pytest.raises(LeaseLost):
        stalled.verify()
    successor.verify()


def test_redis_may_be_away_for_as_long_as_nobody_can_have_taken_the_lease(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    with running_redis(folder, port) as url:
        connection = connect(Settings(_env_file=None, redis_url=url))
        long, short = acquired(connection, 60), Lease.acquire(connection, "r-2", 0.5)
        assert short is not None
    long.verify()

    def lapsed() -> bool:
        try:
            short.verify()
        except LeaseLost:
            return True
        return False

    wait_until(lapsed, "the short lease lapses while Redis is away", seconds=5)
    with running_redis(folder, port):
        long.verify()
    connection.close()


def test_what_another_holds_counts_as_lost_from_then_on(connection: redis.Redis) -> None:
    lost = acquired(connection, 30)
    connection.delete(lease_key(RUN))
    acquired(connection, 30)
    lost._renewed_at -= 60
    with pytest.raises(LeaseLost):
        lost.verify()

    assert not lost.may_be_held
