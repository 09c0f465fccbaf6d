"""What all tests share: how properties are tried, ports, and a real Redis.

Properties try the same examples in every run (`make test`); `make fuzz` tries others, and more of them. They have no
deadline: a busy machine is slow, not wrong.
"""

import contextlib
import itertools
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import settings

from tinygpt.runtime.redis_server import redis_binary, redis_command

settings.register_profile("tests", deadline=None, derandomize=True, database=None)
settings.register_profile("fuzz", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tests"))


def examples(number: int) -> int:
    """So many examples of a property that takes long, and ten times as many if they are searched at random."""
    return number if settings().derandomize else 10 * number


def _ports_of_this_worker() -> Iterator[int]:
    """Each of pytest-xdist's (at most four) workers has ports of its own, in turn. All are below those that systems
    take for outgoing connections."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    own = range(20_000 + 3_000 * worker, 23_000 + 3_000 * worker)
    return itertools.islice(itertools.cycle(own), random.randrange(len(own)), None)


_PORTS = _ports_of_this_worker()


def free_port() -> int:
    """A port on loopback that nobody listens on, nor will: two servers of a test never get the same."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports have no end")


@contextlib.contextmanager
def running_redis(folder: Path, port: int) -> Iterator[str]:
    """A real Redis with the stack's own durability settings; yields its URL."""
    binary = redis_binary()
    assert binary is not None, "make install brings a redis-server"
    command = redis_command(binary, host="127.0.0.1", port=port, folder=folder)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        with redis.Redis.from_url(url) as client:
            wait_until(lambda: _answers(client), "Redis answers")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


def wait_until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Poll `condition` until it holds; fail with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The session's Redis, as a URL."""
    with running_redis(tmp_path_factory.mktemp("redis"), free_port()) as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The session's Redis, empty."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server
