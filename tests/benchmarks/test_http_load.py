"""The load generator, against a server of a few lines."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.http_load import drive, post

_Part = bytes | Callable[[], bytes]


def _receives(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(65536))
    except ConnectionError:
        return False


@contextmanager
def _answering(answer: Callable[[int], list[_Part]]) -> Iterator[int]:
    """A server whose n-th answer is what `answer(n)` lists, sent piece by piece. A piece that is empty, or says so,
    closes the connection. Yields the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    count = iter(range(1_000_000))

    def serve_one(connection: socket.socket) -> None:
        with connection:
            while _receives(connection):
                for part in answer(next(count)):
                    content = part if isinstance(part, bytes) else part()
                    connection.sendall(content)
                    if not content or b"Connection: close" in content:
                        return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve_one, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


_PLAIN = b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}'
_BROKEN = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\n{"
_REFUSED = b"HTTP/1.1 429 no\r\nContent-Length: 0\r\n\r\n"
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def test_every_request_is_answered_and_counted() -> None:
    with _answering(lambda _: [_PLAIN]) as port:
        load = drive(port, [post("/", {"x": 1})], clients=4, count=50)

    assert len(load.exchanges) == 50
    assert not load.lost
    assert {exchange.body for exchange in load.exchanges} == {b'{"a":1}'}
    assert all(load.started <= one.sent < one.done for one in load.exchanges)


def test_an_answer_that_breaks_off_or_refuses_is_lost_and_the_client_goes_on() -> None:
    answers = [_PLAIN, _BROKEN, _REFUSED, _PLAIN, _PLAIN]
    with _answering(lambda n: [answers[n % 5]]) as port:
        load = drive(port, [post("/", {})], clients=1, count=10)

    assert [one.status for one in load.exchanges] == [200, 0, 429, 200, 200] * 2
    assert len(load.lost) == 4


def test_an_idle_connection_that_the_server_closed_costs_no_request() -> None:
    with _answering(lambda _: [_PLAIN, b""]) as port:
        load = drive(port, [post("/", {})], clients=2, count=20)

    assert [one.status for one in load.exchanges] == [200] * 20


def test_events_of_a_stream_have_the_time_at_which_they_came() -> None:
    events = [_chunk(b'data: {"text": "%d"}\n\n' % i) for i in range(2)]
    arrived = threading.Event()

    def second_when_the_first_was_read() -> bytes:
        arrived.wait(10)
        return events[1] + b"0\r\n\r\n"

    with _answering(lambda _: [_STREAM_HEAD + events[0], second_when_the_first_was_read]) as port:
        timer = threading.Timer(0.2, arrived.set)
        timer.start()
        (exchange,) = drive(port, [post("/", {})], clients=1, count=1).exchanges

    (first, zero), (second, one) = exchange.events()
    assert (zero, one) == ({"text": "0"}, {"text": "1"})
    assert exchange.body == b'data: {"text": "0"}\n\ndata: {"text": "1"}\n\n'
    assert second - first > 0.1
    assert exchange.sent < first < second == exchange.done


def test_a_client_that_goes_away_has_lost_nothing() -> None:
    stays, leaves = post("/", {"stays": True}), post("/", {"stays": False})
    with _answering(lambda _: [_STREAM_HEAD + _chunk(b"data: {}\n\n"), lambda: b"0\r\n\r\n"]) as port:
        load = drive(port, [stays, leaves], clients=2, count=10, give_up={leaves})

    assert not load.lost
    assert sum(one.given_up for one in load.exchanges) + sum(one.whole for one in load.exchanges) == 10
