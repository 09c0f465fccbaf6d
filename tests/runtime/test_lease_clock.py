"""When a lease counts as held without asking Redis: its time begins when Redis was asked, not when it answered."""

from typing import Any

import pytest
import redis

from tinygpt.contracts.errors import LeaseLost
from tinygpt.runtime import lease as lease_module
from tinygpt.runtime.lease import Lease

SECONDS = 30.0


class Clock:
    """Stands in for the `time` module of the lease."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class SlowRedis:
    """A Redis that takes a while for every script, or is away."""

    def __init__(self, real: redis.Redis, clock: Clock) -> None:
        self._real = real
        self._clock = clock
        self.seconds = 0.0
        self.away = False
        self.scripts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def eval(self, *arguments: Any) -> Any:
        self.scripts += 1
        if self.away:
            raise redis.ConnectionError("away")
        answer = self._real.eval(*arguments)
        self._clock.now += self.seconds
        return answer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease_module, "time", clock)
    return clock


@pytest.fixture
def slow(connection: redis.Redis, clock: Clock) -> SlowRedis:
    return SlowRedis(connection, clock)


@pytest.fixture
def lease(slow: SlowRedis) -> Lease:
    lease = Lease.acquire(slow, "r-1", SECONDS)  # type: ignore[arg-type]
    assert lease is not None
    return lease


def test_a_renewal_counts_from_when_redis_was_asked(lease: Lease, slow: SlowRedis, clock: Clock) -> None:
    slow.seconds = 20.0
    lease.verify()
    clock.now += 9.9
    assert lease.may_be_held

    clock.now += 0.2
    assert not lease.may_be_held


def test_while_redis_is_away_a_lease_is_held_for_its_own_time_and_not_longer(
    lease: Lease, slow: SlowRedis, clock: Clock
) -> None:
    slow.away = True
    clock.now += SECONDS - 0.1
    lease.verify()

    clock.now += 0.1
    with pytest.raises(LeaseLost):
        lease.verify()


def test_a_verification_that_failed_does_not_count_as_a_renewal(lease: Lease, slow: SlowRedis, clock: Clock) -> None:
    slow.away = True
    clock.now += SECONDS - 1
    lease.verify()
    clock.now += 2

    assert not lease.may_be_held


def test_a_renewal_is_due_after_a_third_of_the_time(lease: Lease, slow: SlowRedis, clock: Clock) -> None:
    clock.now += SECONDS / 3 - 0.1
    lease.renew_if_due()
    assert slow.scripts == 0

    clock.now += 0.1
    lease.renew_if_due()
    assert slow.scripts == 1

    clock.now += SECONDS / 3 - 0.1
    lease.renew_if_due()
    assert slow.scripts == 1
