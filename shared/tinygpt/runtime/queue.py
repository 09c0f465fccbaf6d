"""Redis and the training queue: connections, the RQ queue with its JSON serializer, and Redis errors."""

import contextlib
import re
from collections.abc import Iterator

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry
from rq import Queue
from rq.serializers import JSONSerializer

from tinygpt.contracts.errors import RedisUnavailable
from tinygpt.runtime.settings import Settings

QUEUE_NAME = "training"
JOB_FUNCTION = "services.trainer.job.run_training"
"""A name, not an import, because the gateway enqueues the job but does not know the trainer."""


def connect(settings: Settings, *, decode_responses: bool = True) -> redis.Redis:
    """A client that gives up within seconds: two short retries, then `redis.ConnectionError`."""
    password = settings.redis_password.get_secret_value() if settings.redis_password else None
    return redis.Redis.from_url(
        settings.redis_url,
        password=password,
        decode_responses=decode_responses,
        socket_timeout=10,
        socket_connect_timeout=2,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries=2),
    )


def training_queue(connection: redis.Redis) -> Queue:
    """The queue of training jobs. `connection` must not decode responses, because RQ reads bytes."""
    return Queue(QUEUE_NAME, connection=connection, serializer=JSONSerializer, default_timeout=-1)


_REFUSED = (redis.exceptions.ReadOnlyError, redis.exceptions.OutOfMemoryError, redis.exceptions.ExecAbortError)
"""redis-py's classes for writes that Redis refuses for now. Other refusals, and on Redis 6 those of scripts, have no
class: they are known by a name before the reason."""
_REFUSED_BY_NAME = re.compile(r"(MISCONF|NOREPLICAS|BUSY|OOM|READONLY)\b")
_BEFORE_A_SCRIPTS_REASON = re.compile(r"Error running script .*: -")
"""Redis 6 puts this before the reason; Redis 7 puts the place in the script after it."""


@contextlib.contextmanager
def redis_errors() -> Iterator[None]:
    """Raise `RedisUnavailable` if Redis can't be reached, is loading, or can't write."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise RedisUnavailable(
            "Redis can't be reached, so runs can't be read or accepted now: try again shortly.", retry_after=2
        ) from error
    except redis.ResponseError as error:
        # In a pipeline, the command with all its data comes before the reason; in a script, its place is around it.
        reason = str(error).rpartition("caused error: ")[2].partition(" script: ")[0].rstrip(".")
        reason = _BEFORE_A_SCRIPTS_REASON.sub("", reason)
        if not isinstance(error, _REFUSED) and not _REFUSED_BY_NAME.match(reason):
            raise
        raise RedisUnavailable(
            f"Redis answers but can't take writes now ({reason}): check its disk and memory.",
            retry_after=5,
        ) from error
