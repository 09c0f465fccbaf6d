"""The thread that turns a scheduler, and the way in and out of it: from any thread, or from an event loop."""

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
from tinygpt.inference.scheduler import EMIT_INTERVAL, Scheduler
from tinygpt.inference.sequence import Finished, SequenceOutput, SequenceRequest

log = structlog.get_logger()

OnOutput = Callable[[SequenceOutput], None]
OnEnd = Callable[[Finished | TinyGPTError], None]
_JOIN_SECONDS = 30.0


@dataclass(frozen=True)
class _Recipient:
    on_output: OnOutput
    loop: asyncio.AbstractEventLoop | None


class Engine:
    """One decoder, one thread, many sequences. Every method may be called from any thread.

    The thread starts with the first sequence and sleeps while there is none. It wakes an event loop once a turn at
    most, however many sequences there are. If the decoder raises, all sequences end with one error and the engine goes
    on with the next ones. If the decoder can't even free its slots, the engine is no longer `usable` and refuses all.

    `on_end` is called in the engine's thread with how each sequence ended: for metrics.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        *,
        max_waiting: int = 256,
        emit_interval: float = EMIT_INTERVAL,
        on_end: OnEnd = lambda _end: None,
    ) -> None:
        self.slots = decoder.slots
        self.context_length = decoder.context_length
        self._max_sequences = decoder.slots + max_waiting
        self._decoder = decoder
        self._scheduler = Scheduler(decoder, tokenizer, emit_interval=emit_interval)
        self._on_end = on_end
        self._ids = itertools.count()
        self._changed = threading.Condition()
        """Guards all fields below, and signals changes to them."""
        self._submitted: list[tuple[int, SequenceRequest, float]] = []
        self._cancelled: list[int] = []
        self._recipients: dict[int, _Recipient] = {}
        """Of every sequence that has not ended."""
        self._thread: threading.Thread | None = None
        self._refusal: tuple[type[TinyGPTError], str] | None = None
        """The error, and its message, that every new sequence is refused with."""

    @property
    def usable(self) -> bool:
        """True if it takes sequences and its thread is there to generate them."""
        return self._refusal is None and (self._thread is None or self._thread.is_alive())

    @property
    def running(self) -> int:
        """Sequences in a slot."""
        return self._scheduler.running

    @property
    def waiting(self) -> int:
        """Sequences that were taken and have no slot yet."""
        return max(0, len(self._recipients) - self.running)

    def submit(
        self, requests: Sequence[SequenceRequest], on_output: OnOutput, loop: asyncio.AbstractEventLoop | None = None
    ) -> list[int]:
        """Take all the requests or none, and return their ids. `on_output` is called with every output, in `loop` if
        there is one, else in the engine's thread, where it must return quickly.

        Raises `QueueFull` if there are not enough places now, `InvalidRequest` if there never are, `Draining` after
        `close`, and `DecoderUnusable` if the decoder can't be used any more.
        """
        now = time.perf_counter()
        with self._changed:
            if self._refusal is not None:
                kind, message = self._refusal
                raise kind(message)
            self._require_places(len(requests))
            ids = [next(self._ids) for _ in requests]
            for sequence_id, request in zip(ids, requests, strict=True):
                self._submitted.append((sequence_id, request, now))
                self._recipients[sequence_id] = _Recipient(on_output, loop)
            if self._thread is None:
                self._start()
            self._changed.notify_all()
        if self.running < self.slots:
            self._decoder.interrupt()  # so that they join at the next step
        return ids

    def cancel(self, ids: Iterable[int]) -> None:
        """Finish these as `cancelled` at the next step, with what they have. Ended and unknown ids are ignored."""
        with self._changed:
            known = [one for one in ids if one in self._recipients]
            if not known:
                return
            self._cancelled += known
            self._changed.notify_all()
        self._decoder.interrupt()

    def close(self, *, drain_seconds: float = 0.0) -> None:
        """Take nothing more, give what was taken `drain_seconds` to finish, cancel the rest, and end the thread."""
        with self._changed:
            self._refusal = self._refusal or (Draining, "This model is shutting down: try again shortly.")
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._recipients, timeout=drain_seconds)
            remaining = list(self._recipients)
        self.cancel(remaining)
        atexit.unregister(self.close)
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    def _require_places(self, count: int) -> None:
        if count > self._max_sequences:
            raise InvalidRequest(f"{count} answers at once are more than the {self._max_sequences} that fit in here.")
        if len(self._recipients) + count > self._max_sequences:
            raise QueueFull("The queue is full: try again shortly.")

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)
        self._thread.start()
        atexit.register(self.close)  # a thread inside PyTorch while the interpreter ends would abort the process

    def _run(self) -> None:
        while self._has_work():
            try:
                outputs = self._turn()
            except Exception as error:  # noqa: BLE001  (whatever the decoder raises, no client may wait for ever)
                outputs = self._fail(error)
            self._deliver(outputs)

    def _has_work(self) -> bool:
        """Wait for something to do. False once everything has ended and nothing more is taken."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._submitted or self._cancelled or self._scheduler.busy or self._refusal is not None
            )
            return bool(self._recipients) or self._refusal is None

    def _turn(self) -> list[SequenceOutput]:
        with self._changed:
            submitted, self._submitted = self._submitted, []
            cancelled, self._cancelled = self._cancelled, []
        for sequence_id, request, arrived_at in submitted:
            self._scheduler.submit(sequence_id, request, arrived_at=arrived_at)
        for sequence_id in cancelled:
            self._scheduler.cancel(sequence_id)
        return self._scheduler.turn()

    def _fail(self, error: Exception) -> list[SequenceOutput]:
        log.error("the decoder failed", exc_info=error)
        failure = TinyGPTError(f"The decoder failed: {type(error).__name__}: {error}.")
        outputs = self._scheduler.fail(failure)
        try:
            self._scheduler.reset()
        except Exception as unusable:
            log.error("the decoder can't be used any more", exc_info=unusable)
            with self._changed:
                self._refusal = DecoderUnusable, failure.message
                self._submitted.clear()
        with self._changed:
            reached = {output.id for output in outputs} | {one for one, _, _ in self._submitted}
            lost = [one for one in self._recipients if one not in reached]  # on their way to the scheduler
        return outputs + [SequenceOutput(one, end=failure) for one in lost]

    def _deliver(self, outputs: Sequence[SequenceOutput]) -> None:
        batches: dict[asyncio.AbstractEventLoop, list[tuple[OnOutput, SequenceOutput]]] = {}
        for output in outputs:
            recipient = self._recipients[output.id]
            if output.end is not None:
                self._notify(output.end)
            if recipient.loop is None:
                _call_each([(recipient.on_output, output)])
            else:
                batches.setdefault(recipient.loop, []).append((recipient.on_output, output))
        for loop, batch in batches.items():
            try:
                loop.call_soon_threadsafe(_call_each, batch)
            except RuntimeError:  # the loop is closed, and nobody there waits any more
                self.cancel(output.id for _, output in batch)
        ended = [output.id for output in outputs if output.end is not None]
        if ended:
            with self._changed:
                for sequence_id in ended:
                    del self._recipients[sequence_id]
                self._changed.notify_all()

    def _notify(self, end: Finished | TinyGPTError) -> None:
        try:
            self._on_end(end)
        except Exception as error:  # a metric that can't be counted must not hold an answer back
            log.error("on_end failed", exc_info=error)


def _call_each(batch: Sequence[tuple[OnOutput, SequenceOutput]]) -> None:
    for on_output, output in batch:
        try:
            on_output(output)
        except Exception as error:  # one recipient's failure must not keep outputs from the others
            log.error("an output could not be delivered", exc_info=error)
