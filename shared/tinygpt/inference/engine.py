"""The thread that turns a scheduler, and how others hand it requests: from any thread, or from an event loop."""

import asyncio
import atexit
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from tinygpt.contracts.errors import DecoderUnusable, Draining, InvalidRequest, QueueFull, TinyGPTError
from tinygpt.data.tokenizer import Tokenizer
from tinygpt.inference.decoder import Decoder
from tinygpt.inference.scheduler import TELL_SECONDS, Scheduler
from tinygpt.inference.sequence import Decoded, DecodeRequest, Event

log = structlog.get_logger()

Deliver = Callable[[Event], None]
OnEnd = Callable[[Decoded | TinyGPTError], None]
_SECONDS_TO_END = 30.0


@dataclass(frozen=True)
class _Recipient:
    deliver: Deliver
    loop: asyncio.AbstractEventLoop | None


class Engine:
    """One decoder, one thread, many requests. Every method may be called from any thread.

    The thread starts with the first request and sleeps while there is none. An event loop is woken once a turn at most,
    whatever the number of requests. Where the decoder raises, all requests end with one error, and the engine goes on
    with the next ones; where the decoder can't even free its slots, the engine is not `usable` any more and refuses.

    `on_end` is told what every request ended with, or the error that ended it, in the engine's thread: for metrics.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        *,
        max_waiting: int = 256,
        tell_seconds: float = TELL_SECONDS,
        on_end: OnEnd = lambda _end: None,
    ) -> None:
        self.slots = decoder.slots
        self._most = decoder.slots + max_waiting
        self._decoder = decoder
        self._scheduler = Scheduler(decoder, tokenizer, max_waiting=max_waiting, tell_seconds=tell_seconds)
        self._on_end = on_end
        self._ids = itertools.count()
        self._changed = threading.Condition()
        """Guards what follows, and tells of changes to it."""
        self._submitted: list[tuple[int, DecodeRequest, float]] = []
        self._cancelled: list[int] = []
        self._recipients: dict[int, _Recipient] = {}
        """Of every request that has not ended."""
        self._thread: threading.Thread | None = None
        self._refusal: tuple[type[TinyGPTError], str] | None = None
        """The error, and its message, with which nothing is taken any more."""

    @property
    def usable(self) -> bool:
        """Whether it takes requests and its thread answers them."""
        return self._refusal is None and (self._thread is None or self._thread.is_alive())

    @property
    def running(self) -> int:
        """Requests in a slot."""
        return self._scheduler.running

    @property
    def waiting(self) -> int:
        """Requests taken that have no slot yet."""
        return max(0, len(self._recipients) - self.running)

    def submit(
        self, requests: Sequence[DecodeRequest], deliver: Deliver, loop: asyncio.AbstractEventLoop | None = None
    ) -> list[int]:
        """Take all the requests or none; returns their ids. `deliver` gets each one's events, the last of them with
        `decoded` or `error`: in `loop` where given, else in the engine's thread, where it must not linger.

        Raises `QueueFull` where not all find a place now, `InvalidRequest` where they never would, `Draining` after
        `close`, `DecoderUnusable` where the decoder is of no more use, `ValueError` for a prompt that is empty or
        leaves no room for a token.
        """
        for request in requests:
            self._scheduler.require_room(request)
        now = time.perf_counter()
        with self._changed:
            if self._refusal is not None:
                kind, message = self._refusal
                raise kind(message)
            self._require_places(len(requests))
            ids = [next(self._ids) for _ in requests]
            for handle, request in zip(ids, requests, strict=True):
                self._submitted.append((handle, request, now))
                self._recipients[handle] = _Recipient(deliver, loop)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)
                self._thread.start()
                atexit.register(
                    self.close
                )  # a thread within PyTorch while the interpreter ends would abort the process
            self._changed.notify_all()
        if self.running < self.slots:
            self._decoder.interrupt()  # so that they join at the next step
        return ids

    def _require_places(self, count: int) -> None:
        if count > self._most:
            raise InvalidRequest(f"These are {count} answers, and {self._most} at most find a place: ask for fewer.")
        if len(self._recipients) + count > self._most:
            raise QueueFull("As many requests wait as may: try again shortly.")

    def cancel(self, ids: Iterable[int]) -> None:
        """Let these end as `cancelled` at the next step, with what they wrote. Ended and unknown ones don't matter."""
        with self._changed:
            known = [handle for handle in ids if handle in self._recipients]
            if not known:
                return
            self._cancelled += known
            self._changed.notify_all()
        self._decoder.interrupt()

    def close(self, *, drain_seconds: float = 0.0) -> None:
        """Take nothing more, let what was taken end for so many seconds, cancel the rest, and end the thread."""
        with self._changed:
            self._refusal = self._refusal or (Draining, "This model is being put away: try again shortly.")
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._recipients, timeout=drain_seconds)
            remaining = list(self._recipients)
        self.cancel(remaining)
        atexit.unregister(self.close)
        if self._thread is not None:
            self._thread.join(_SECONDS_TO_END)

    def _run(self) -> None:
        while self._has_work():
            try:
                events = self._turn()
            except Exception as error:  # noqa: BLE001  (whatever the decoder raises, nobody may wait for ever)
                events = self._fail(error)
            self._deliver(events)

    def _has_work(self) -> bool:
        """Wait for something to do; False once everything has ended and nothing more is taken."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._submitted or self._cancelled or self._scheduler.busy or self._refusal is not None
            )
            return bool(self._recipients) or self._refusal is None

    def _turn(self) -> list[Event]:
        self._take_submitted()
        with self._changed:
            cancelled, self._cancelled = self._cancelled, []
        for handle in cancelled:
            self._scheduler.cancel(handle)
        return self._scheduler.turn()

    def _take_submitted(self) -> None:
        with self._changed:
            submitted, self._submitted = self._submitted, []
        for handle, request, at in submitted:
            self._scheduler.submit(handle, request, at=at)

    def _fail(self, error: Exception) -> list[Event]:
        log.error("the decoder failed", exc_info=error)
        failure = TinyGPTError(f"The decoder failed: {type(error).__name__}: {error}.")
        events = self._scheduler.fail(failure)
        try:
            self._scheduler.reset()
        except Exception as unusable:
            log.error("the decoder is of no more use", exc_info=unusable)
            with self._changed:
                self._refusal = DecoderUnusable, failure.message
                self._submitted.clear()
        with self._changed:
            told = {event.id for event in events} | {handle for handle, _, _ in self._submitted}
            lost = [handle for handle in self._recipients if handle not in told]  # on their way to the scheduler
        return events + [Event(handle, error=failure) for handle in lost]

    def _deliver(self, events: Sequence[Event]) -> None:
        batches: dict[asyncio.AbstractEventLoop, list[tuple[Deliver, Event]]] = {}
        for event in events:
            recipient = self._recipients[event.id]
            end = event.decoded or event.error
            if end is not None:
                self._tell(end)
            if recipient.loop is None:
                _deliver_all([(recipient.deliver, event)])
            else:
                batches.setdefault(recipient.loop, []).append((recipient.deliver, event))
        for loop, batch in batches.items():
            try:
                loop.call_soon_threadsafe(_deliver_all, batch)
            except RuntimeError:  # the loop is closed, and with it all who would read
                self.cancel(event.id for _, event in batch)
        ended = [event.id for event in events if event.decoded is not None or event.error is not None]
        if ended:
            with self._changed:
                for handle in ended:
                    del self._recipients[handle]
                self._changed.notify_all()

    def _tell(self, end: Decoded | TinyGPTError) -> None:
        try:
            self._on_end(end)
        except Exception as error:  # a metric that can't be counted must not keep an answer back
            log.error("on_end failed", exc_info=error)


def _deliver_all(batch: Sequence[tuple[Deliver, Event]]) -> None:
    for deliver, event in batch:
        try:
            deliver(event)
        except Exception as error:  # one who can't take the news must not keep it from the others
            log.error("an event could not be delivered", exc_info=error)
