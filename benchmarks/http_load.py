"""A load of HTTP requests from many clients, each of which sends its next request when it has its answer.

One thread with raw sockets, which parses nothing while the clock runs: the same for every server, and cheap compared
with it (`Load.client_seconds`).
"""

import contextlib
import gc
import json
import re
import selectors
import socket
import time
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

_READ_AT_ONCE = 1 << 18
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_SILENCE_SECONDS = 60.0
"""If no byte comes for so long, the requests under way are lost."""


def post(path: str, body: dict[str, Any]) -> bytes:
    """The bytes of a request."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(content) + content


@dataclass
class Exchange:
    """A request and its answer. Times are `time.perf_counter`'s."""

    sent: float
    received: bytearray = field(default_factory=bytearray)
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    """When bytes came, and how many had come by then."""
    whole: bool = False
    """False if the server closed the connection too early, or never answered."""
    given_up: bool = False
    """The client closed the connection before the answer was complete."""

    @property
    def done(self) -> float:
        return self.arrivals[-1][0] if self.arrivals else self.sent

    @property
    def seconds(self) -> float:
        return self.done - self.sent

    @property
    def status(self) -> int:
        return int(self.received[9:12]) if self.whole else 0

    @property
    def body(self) -> bytes:
        """The content, without the framing of chunks."""
        head, _, rest = bytes(self.received).partition(b"\r\n\r\n")
        if _LENGTH.search(head):
            return rest
        return b"".join(chunk for chunk, _ in _chunks(rest))

    def events(self) -> Iterator[tuple[float, dict[str, Any]]]:
        """Each server-sent event with JSON in it, and when its bytes had come."""
        head, _, rest = bytes(self.received).partition(b"\r\n\r\n")
        start = len(head) + 4
        for chunk, end in _chunks(rest):
            came = next(at for at, length in self.arrivals if length >= start + end)
            for line in chunk.splitlines():
                if line.startswith(b"data: {"):
                    yield came, json.loads(line[6:])


def _chunks(content: bytes) -> Iterator[tuple[bytes, int]]:
    """The chunks of a chunked body (RFC 9112, 7.1), each with the offset at which it ends."""
    at = 0
    while (line := content.find(b"\r\n", at)) >= 0 and (size := int(content[at:line], 16)):
        at = line + 2 + size
        yield content[line + 2 : at], at
        at += 2


@dataclass(frozen=True)
class Load:
    """What `drive` measured. Exchanges are in the order in which they ended."""

    exchanges: list[Exchange]
    started: float
    ended: float
    """When the last request was sent. Those under way were still answered."""
    client_seconds: float
    """Processor time of the clients."""

    @property
    def lost(self) -> list[Exchange]:
        """Exchanges without a 200 that the client did not give up."""
        return [exchange for exchange in self.exchanges if exchange.status != 200 and not exchange.given_up]

    def within(self, skip: float = 0.0) -> list[Exchange]:
        """Exchanges that ended while all clients were busy, after the first `skip` seconds."""
        return [one for one in self.exchanges if self.started + skip <= one.done <= self.ended]


class _Client:
    """One connection and its request under way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.connection: socket.socket | None = None
        self.exchange = Exchange(0.0)
        self.expected: int | None = None
        """Bytes of the whole answer, if its head has come and has a length. 0: the body is chunked."""
        self.request = b""
        self.gives_up = False
        """Close the connection when the first bytes of the answer have come."""
        self.reused = False
        """The connection has carried an exchange before, so the server may have closed it because it was idle."""

    def send(self, request: bytes, selector: selectors.BaseSelector, *, give_up: bool = False) -> None:
        self.request = request
        self.gives_up = give_up
        self.exchange = Exchange(time.perf_counter())
        self._send(selector)

    def _send(self, selector: selectors.BaseSelector) -> None:
        self.expected = None
        self.reused = self.connection is not None
        if self.connection is None:
            self.connection = socket.create_connection(self.address)
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(self.connection, selectors.EVENT_READ, self)
        with contextlib.suppress(ConnectionError):  # the next read reports it
            self.connection.sendall(self.request)

    def receive(self, selector: selectors.BaseSelector) -> bool:
        """Read what has come. True if the exchange has ended, well or not."""
        assert self.connection is not None
        try:
            came = self.connection.recv(_READ_AT_ONCE)
        except ConnectionError:
            came = b""
        exchange = self.exchange
        if not came and self.reused and not exchange.received:  # closed between exchanges: RFC 9112, 9.3.1
            self.close(selector)
            self._send(selector)
            return False
        exchange.received += came
        exchange.arrivals.append((time.perf_counter(), len(exchange.received)))
        exchange.whole = bool(came) and self._is_whole()
        exchange.given_up = self.gives_up and bool(came) and not exchange.whole
        if not came or exchange.given_up or (exchange.whole and _CLOSES.search(exchange.received, 0, 1024)):
            self.close(selector)
        return not came or exchange.whole or exchange.given_up

    def close(self, selector: selectors.BaseSelector) -> None:
        if self.connection is not None:
            selector.unregister(self.connection)
            self.connection.close()
            self.connection = None

    def _is_whole(self) -> bool:
        received = self.exchange.received
        if self.expected is None:
            head = received.find(b"\r\n\r\n")
            if head < 0:
                return False
            length = _LENGTH.search(received, 0, head + 2)
            self.expected = head + 4 + int(length[1]) if length else 0
        if self.expected:
            return len(received) >= self.expected
        return received.endswith(b"\r\n0\r\n\r\n")


def drive(
    port: int,
    requests: Sequence[bytes],
    *,
    clients: int,
    seconds: float | None = None,
    count: int | None = None,
    give_up: Container[bytes] = (),
) -> Load:
    """Let `clients` send `requests`, again and again in order, for `seconds` or until `count` were sent.

    A client that sends one of `give_up` closes its connection at the first bytes of the answer, unless those are all.
    Python's garbage collector is off: with PyTorch's objects a collection takes 0.1 s, in which nobody is served.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return _drive(port, requests, clients, seconds, count, give_up)
    finally:
        if collects:
            gc.enable()


def _drive(
    port: int,
    requests: Sequence[bytes],
    clients: int,
    seconds: float | None,
    count: int | None,
    give_up: Container[bytes],
) -> Load:
    selector = selectors.DefaultSelector()
    everyone = [_Client(("127.0.0.1", port)) for _ in range(clients)]
    exchanges: list[Exchange] = []
    sent = 0
    processor, started = time.process_time(), time.perf_counter()
    until = started + (seconds if seconds is not None else float("inf"))

    def more() -> bool:
        return (count is None or sent < count) and time.perf_counter() < until

    def send(client: _Client) -> None:
        nonlocal sent
        request = requests[sent % len(requests)]
        sent += 1
        client.send(request, selector, give_up=request in give_up)

    for client in everyone:
        if more():
            send(client)
    ended = None if more() else time.perf_counter()
    while len(exchanges) < sent and (ready := selector.select(timeout=_SILENCE_SECONDS)):
        for key, _ in ready:
            client = key.data
            if not client.receive(selector):
                continue
            exchanges.append(client.exchange)
            if more():
                send(client)
            else:
                client.close(selector)
                ended = ended or time.perf_counter()
    finished = time.perf_counter()
    for client in everyone:
        if client.connection is not None and not client.exchange.whole:
            exchanges.append(client.exchange)  # never answered
        client.close(selector)
    selector.close()
    return Load(exchanges, started, ended or finished, time.process_time() - processor)
