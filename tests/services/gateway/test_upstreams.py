"""Which model server is asked, when another is, and what their failures mean to a client."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import httpx
import pytest

from services.gateway.upstreams import ModelServers, UpstreamRequest
from tinygpt.contracts.errors import (
    DeadlineExceeded,
    ErrorBody,
    InvalidRequest,
    ModelLoading,
    NoModel,
    QueueFull,
    TinyGPTError,
    UpstreamUnavailable,
)

A, B = "http://a:1", "http://b:1"
ANSWER = b'{"code": "x"}'
REQUEST = UpstreamRequest("/generate", b'{"prompt": "p"}', request_id="id-1")
Handler = Callable[[httpx.Request], httpx.Response] | Callable[[httpx.Request], Awaitable[httpx.Response]]


def answer(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, content=ANSWER, headers={"Content-Type": "application/json"})


def refuse(error: TinyGPTError) -> Callable[[httpx.Request], httpx.Response]:
    body = ErrorBody(error=error.detail()).model_dump_json()
    headers = {"Retry-After": "2"} if error.retry_after else {}
    return lambda _request: httpx.Response(error.status, content=body, headers=headers)


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


def closed_without_an_answer(request: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)


async def never(_request: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


class Network:
    """Model servers with a list of behaviours each; the last one is repeated."""

    def __init__(self, **behaviours: Sequence[Handler]) -> None:
        self.asked: list[str] = []
        self.requests: list[httpx.Request] = []
        self._behaviours = {name: list(todo) for name, todo in behaviours.items()}
        self.servers = ModelServers([f"http://{name}:1" for name in behaviours], httpx.MockTransport(self._handle))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host
        self.asked.append(name)
        self.requests.append(request)
        todo = self._behaviours[name]
        outcome = (todo.pop(0) if len(todo) > 1 else todo[0])(request)
        return await outcome if isinstance(outcome, Awaitable) else outcome

    async def generate(self, seconds: float = 5.0) -> bytes:
        deadline = asyncio.get_running_loop().time() + seconds
        return await self.servers.send(REQUEST, deadline=deadline)


def ask(network: Network, seconds: float = 5.0) -> bytes:
    async def asked() -> bytes:
        try:
            return await network.generate(seconds)
        finally:
            await network.servers.close()

    return asyncio.run(asked())


# -- asking again


@pytest.mark.parametrize(
    "failure",
    [
        unreachable,
        closed_without_an_answer,
        refuse(ModelLoading("loading", retry_after=2)),
        lambda _request: httpx.Response(502, text="bad gateway"),
        lambda _request: httpx.Response(503, text="no"),
    ],
    ids=["connect", "closed", "loading", "502", "503"],
)
def test_a_server_that_fails_before_it_answers_is_asked_again(failure: Handler) -> None:
    network = Network(a=[failure, answer])
    assert ask(network) == ANSWER
    assert network.asked == ["a", "a"]


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("too long", param="prompt"),
        QueueFull("full", retry_after=2),
        DeadlineExceeded("late"),
        NoModel("no model yet", retry_after=2),
        TinyGPTError("a bug"),
    ],
    ids=lambda error: error.code,
)
def test_an_answer_is_final_and_passed_on_as_it_is(error: TinyGPTError) -> None:
    network = Network(a=[refuse(error), answer])
    with pytest.raises(type(error)) as caught:
        ask(network)
    assert network.asked == ["a"]
    assert (caught.value.message, caught.value.param) == (error.message, error.param)
    assert (caught.value.retry_after is None) is (error.retry_after is None)


def test_the_next_attempt_goes_to_another_server() -> None:
    for failure in (unreachable, refuse(ModelLoading("loading", retry_after=2))):
        network = Network(a=[failure], b=[answer])
        assert ask(network) == ANSWER
        assert network.asked == ["a", "b"]


def test_where_one_server_is_full_each_other_is_asked_once() -> None:
    full = refuse(QueueFull("full", retry_after=2))
    network = Network(a=[full], b=[answer])
    assert ask(network) == ANSWER
    assert network.asked == ["a", "b"]
    assert network.servers.upstreams[0].failures == 0

    network = Network(a=[full], b=[full])
    with pytest.raises(QueueFull):
        ask(network)
    assert network.asked == ["a", "b"]


def test_a_request_is_asked_a_few_times_and_then_told() -> None:
    network = Network(a=[unreachable])
    with pytest.raises(UpstreamUnavailable) as caught:
        ask(network)
    assert 2 <= len(network.asked) <= 5
    assert caught.value.retry_after


def test_what_answers_but_is_no_model_server_is_unavailable() -> None:
    network = Network(a=[lambda _request: httpx.Response(200, text="<html>welcome</html>")])
    with pytest.raises(UpstreamUnavailable):
        ask(network)


# -- the deadline


def test_a_server_that_does_not_answer_in_time_is_a_deadline_exceeded() -> None:
    network = Network(a=[never])
    with pytest.raises(DeadlineExceeded):
        ask(network, seconds=0.05)
    assert network.asked == ["a"]


def test_attempts_stay_inside_the_deadline() -> None:
    async def scenario() -> float:
        network = Network(a=[unreachable])
        loop = asyncio.get_running_loop()
        started = loop.time()
        with pytest.raises((UpstreamUnavailable, DeadlineExceeded)):
            await network.generate(0.05)
        await network.servers.close()
        return loop.time() - started

    assert asyncio.run(scenario()) < 0.3


def test_a_server_is_told_how_long_it_has_and_whose_request_it_is() -> None:
    network = Network(a=[unreachable, answer])
    ask(network, seconds=5.0)
    left = [float(request.headers["X-Deadline-Seconds"]) for request in network.requests]
    assert 0 < left[1] <= left[0] <= 5
    assert {request.headers["X-Request-Id"] for request in network.requests} == {"id-1"}
    assert {request.content for request in network.requests} == {REQUEST.body}


# -- which one


def test_the_least_busy_is_asked_first() -> None:
    async def scenario() -> list[str]:
        network = Network(a=[never], b=[never])
        tasks = []
        for _ in range(4):
            tasks.append(asyncio.create_task(network.generate()))
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [upstream.in_flight for upstream in network.servers.upstreams] == [0, 0]
        await network.servers.close()
        return network.asked

    assert asyncio.run(scenario()) == ["a", "b", "a", "b"]


def test_a_server_that_keeps_failing_is_ejected_and_asked_again_after_that() -> None:
    async def scenario() -> None:
        failures: list[Handler] = [unreachable, lambda _request: httpx.Response(503, text="no")]
        for failure in failures:
            network = Network(a=[failure], b=[answer])
            for _ in range(3):
                await network.generate()
            network.asked.clear()
            for _ in range(5):
                await network.generate()
            assert network.asked == ["b"] * 5

            network.servers.upstreams[0].ejected_until = 0.0
            await network.generate()
            assert "a" in network.asked
            await network.servers.close()

    asyncio.run(scenario())


def test_when_all_are_ejected_one_is_asked_all_the_same() -> None:
    async def scenario() -> None:
        network = Network(a=[unreachable] * 8 + [answer])
        for _ in range(2):
            with pytest.raises(UpstreamUnavailable):
                await network.generate()
        assert await network.generate() == ANSWER
        await network.servers.close()

    asyncio.run(scenario())


def test_an_answer_forgets_the_failures_before_it() -> None:
    network = Network(a=[unreachable, unreachable, answer])
    ask(network)
    assert network.servers.upstreams[0].failures == 0


# -- health


def test_health_is_each_servers_own_word_and_none_for_one_that_cannot_be_reached() -> None:
    async def scenario() -> None:
        loading = '{"status": "loading", "uptime_seconds": 1, "running": 0, "waiting": 0}'
        network = Network(a=[unreachable], b=[lambda _request: httpx.Response(503, text=loading)])
        health = await network.servers.health()
        assert health[A] is None
        assert (health[B] or pytest.fail("b was reached")).status == "loading"
        await network.servers.close()

    asyncio.run(scenario())
