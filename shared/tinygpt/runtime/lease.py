"""A fencing lease: the right to work on a run. It lapses if its holder does not renew it.

The token grows with every acquisition. A holder that stalled and comes back finds a larger token in its place, and
writes nothing more (M. Kleppmann, "How to do distributed locking", 2016).
"""

import os
import socket
import time

import redis

from tinygpt.contracts.errors import LeaseLost, RedisUnavailable
from tinygpt.runtime.queue import redis_errors

_FENCE = "tinygpt:fence"
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
_FORGET = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, -#ARGV[1] - 1) == ' ' .. ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


def lease_key(run_id: str) -> str:
    return f"tinygpt:lease:{run_id}"


def forget_lease(connection: redis.Redis, run_id: str, pid: int) -> None:
    """End the lease of a run now if this machine's process `pid`, which is known to be dead, holds it."""
    connection.eval(_FORGET, 1, lease_key(run_id), _holder(pid))


class Lease:
    """Held by one worker for one run. Not thread-safe, because the training loop renews it between steps."""

    def __init__(self, connection: redis.Redis, run_id: str, token: int, seconds: float) -> None:
        self.run_id = run_id
        self.token = token
        self.mark = _mark(token)
        """The value in Redis while the lease is held."""
        self._connection = connection
        self._seconds = seconds
        self._renewed_at = time.monotonic()

    @classmethod
    def acquire(cls, connection: redis.Redis, run_id: str, seconds: float) -> "Lease | None":
        """Take the lease of a run; None if another worker holds it."""
        token = int(connection.incr(_FENCE))
        if not connection.set(lease_key(run_id), _mark(token), nx=True, px=int(seconds * 1000)):
            return None
        return cls(connection, run_id, token, seconds)

    @property
    def may_be_held(self) -> bool:
        """True if nobody else can have taken it, as far as is known without asking Redis."""
        return time.monotonic() - self._renewed_at < self._seconds

    def renew_if_due(self) -> None:
        """Renew after a third of the lease's time. Raises `LeaseLost`."""
        if time.monotonic() - self._renewed_at >= self._seconds / 3:
            self.verify()

    def verify(self) -> None:
        """Prove that the lease is still held, and renew it.

        If Redis is away, the lease counts as held until another worker could have taken it.

        Raises:
            LeaseLost: another worker holds it, or it was not renewed in time.
        """
        asked_at = time.monotonic()
        milliseconds = int(self._seconds * 1000)
        try:
            with redis_errors():
                held = self._connection.eval(_RENEW, 1, lease_key(self.run_id), self.mark, milliseconds)
        except RedisUnavailable:
            held = self.may_be_held
        else:
            if held:
                self._renewed_at = asked_at
        if not held:
            raise LeaseLost(f"The lease of run {self.run_id} lapsed: another worker may have taken the run over.")


def _mark(token: int) -> str:
    return f"{token} {_holder(os.getpid())}"


def _holder(pid: int) -> str:
    """The name of a process among those of all machines and containers."""
    return f"{socket.gethostname()}:{pid}"
