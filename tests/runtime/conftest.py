"""A run store on the session's Redis, and what its tests do with runs."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from rq import Queue

from tinygpt.contracts.errors import TinyGPTError
from tinygpt.contracts.runs import TrainRequest
from tinygpt.runtime.lease import Lease
from tinygpt.runtime.queue import connect, training_queue
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.settings import Settings

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


def reported_states(runs: RunStore, run_id: str) -> list[str]:
    return [event.data["state"] for event in runs.events(run_id) if event.type == "state"]


def at_once(count: int, work: Any) -> list[Any]:
    gate = threading.Barrier(count)

    def one(_: int) -> Any:
        gate.wait()
        try:
            return work()
        except TinyGPTError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return Settings(_env_file=None, redis_url=redis_url)


@pytest.fixture
def connection(settings: Settings) -> Iterator[redis.Redis]:
    with connect(settings) as client:
        yield client


@pytest.fixture
def queue(settings: Settings) -> Iterator[Queue]:
    with connect(settings, decode_responses=False) as client:
        yield training_queue(client)


@pytest.fixture
def runs(connection: redis.Redis, queue: Queue) -> RunStore:
    return RunStore(connection, queue)
