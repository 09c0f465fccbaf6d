"""What a Redis that answers, but takes no writes, becomes."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
import redis

from tinygpt.contracts.errors import RedisUnavailable
from tinygpt.runtime.queue import redis_errors


@contextlib.contextmanager
def setting(connection: redis.Redis, name: str, value: str, usual: str) -> Iterator[None]:
    connection.config_set(name, value)
    try:
        yield
    finally:
        connection.config_set(name, usual)


def in_a_transaction(connection: redis.Redis) -> None:
    with connection.pipeline() as pipe:
        pipe.set("key", "value")
        pipe.execute()


def in_a_script(connection: redis.Redis) -> None:
    connection.eval("return redis.call('SET', KEYS[1], 'value')", 1, "key")


@pytest.mark.parametrize(
    "write",
    [lambda connection: connection.set("key", "value"), in_a_transaction, in_a_script],
    ids=["set", "MULTI", "Lua"],
)
@pytest.mark.parametrize(
    ("name", "value", "usual", "says"),
    [("maxmemory", "1", "0", "memory"), ("min-replicas-to-write", "1", "0", "replicas")],
    ids=["no memory", "too few replicas"],
)
def test_writes_that_redis_refuses_are_a_redis_that_is_away(
    connection: redis.Redis, write: Callable[[redis.Redis], object], name: str, value: str, usual: str, says: str
) -> None:
    with (
        setting(connection, name, value, usual),
        pytest.raises(RedisUnavailable, match=f"can't take writes now .*{says}") as caught,
        redis_errors(),
    ):
        write(connection)
    assert "value" not in caught.value.message, "the data of a command is nobody's business"
    assert "script" not in caught.value.message


@pytest.mark.parametrize(
    "of_redis",
    [
        "Error running script (call to f_e06e): @user_script:1: @user_script: 1: -{}.",  # 6
        "{} script: e06e, on @user_script:1.",  # 7
    ],
    ids=["Redis 6", "Redis 7"],
)
@pytest.mark.parametrize(
    "refusal",
    [
        "OOM command not allowed when used memory > 'maxmemory'",
        "MISCONF Errors writing to the AOF file: No space left on device",
        "READONLY You can't write against a read only replica",
    ],
    ids=["OOM", "MISCONF", "READONLY"],
)
def test_what_each_redis_says_of_a_scripts_write_is_understood(of_redis: str, refusal: str) -> None:
    with pytest.raises(RedisUnavailable) as caught, redis_errors():
        raise redis.ResponseError(of_redis.format(refusal))
    assert f"can't take writes now ({refusal}):" in caught.value.message


def test_a_mistake_of_ours_is_not_taken_for_that(connection: redis.Redis) -> None:
    connection.set("key", "value")
    with pytest.raises(redis.ResponseError, match="wrong kind"), redis_errors():
        connection.hget("key", "field")
