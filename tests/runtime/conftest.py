"""A run store on the session's Redis."""

from collections.abc import Iterator

import pytest
import redis
from rq import Queue

from tinygpt.runtime.queue import connect, training_queue
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.settings import Settings


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
