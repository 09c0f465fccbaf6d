"""Continuous batching: requests take and leave a decoder's slots at any step (Yu et al., "Orca", 2022).

A turn of the scheduler gives free slots to those who wait, reads prompts up to a budget of tokens, lets the slots that
write do so for some milliseconds, and tells what came of it: rare enough that Python between the turns costs little,
short enough that nobody notices. There is no thread and no clock in it but the one it is given.

Who comes first is served first: slots and the reading of prompts go by the order of arrival. A prompt is read in chunks
with steps between, so that the slots that write wait for one turn's budget at most, however long it is. Nobody
starves: every request writes a bounded number of tokens, and nobody passes another in the queue. A first token is
told at once, those that follow it some at a time.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Literal

from tinygpt.contracts.errors import QueueFull, TinyGPTError
from tinygpt.contracts.generation import FinishReason
from tinygpt.data.tokenizer import Tokenizer
from tinygpt.inference.decoder import Decoder
from tinygpt.inference.sequence import NOT_A_NUMBER, DecodedSequence, DecodeRequest, Event

TELL_SECONDS = 0.02
"""Between two pieces of one stream, at least."""


class Scheduler:
    """For one thread at a time."""

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        *,
        max_waiting: int = 256,
        prefill_tokens: int = 256,
        seconds: float = 0.004,
        tell_seconds: float = TELL_SECONDS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`prefill_tokens` and `seconds` bound a turn: tokens of prompts that it reads, and by the pace of the turn
        before, the time that it writes for. A request that streams is told at most every `tell_seconds`: as often as
        an eye can follow, for with many streams their news are what a server spends most on."""
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._most = decoder.slots + max_waiting
        self._prefill_tokens = prefill_tokens
        self._seconds = seconds
        self._seconds_a_token = seconds
        self._tell_seconds = tell_seconds
        self._clock = clock
        self._free = list(reversed(range(decoder.slots)))
        self._waiting: OrderedDict[int, DecodedSequence] = OrderedDict()
        self._reading: OrderedDict[int, DecodedSequence] = OrderedDict()
        self._writing: dict[int, DecodedSequence] = {}
        """By slot; the two above by id."""
        self._events: list[Event] = []

    @property
    def waiting(self) -> int:
        """Requests without a slot."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests with a slot: their prompt is being read, or they write."""
        return len(self._reading) + len(self._writing)

    @property
    def busy(self) -> bool:
        """Whether there is anything for a turn to do."""
        return bool(self._waiting or self._reading or self._writing or self._events)

    def submit(self, id: int, request: DecodeRequest, *, at: float | None = None) -> None:
        """Put a request at the end of the queue. `at` is when it came, where that was before now.

        Raises `QueueFull`, and `ValueError` for a prompt that is empty or leaves no room for a token.
        """
        if self.waiting + self.running >= self._most:
            raise QueueFull("As many requests wait as may: try again shortly.")
        self.require_room(request)
        self._waiting[id] = DecodedSequence(id, request, self._tokenizer, self._clock() if at is None else at)

    def require_room(self, request: DecodeRequest) -> None:
        """Raise `ValueError` for a prompt that is empty or leaves no room for a token."""
        if not 0 < len(request.prompt_ids) < self._decoder.context_length:
            raise ValueError(
                f"the prompt has {len(request.prompt_ids)} tokens; it must have one, and leave room for another in a "
                f"context of {self._decoder.context_length}"
            )

    def cancel(self, id: int) -> None:
        """End the request as `cancelled`, with what it wrote; its slot is free for the next turn. An id that is unknown
        or has ended is let be."""
        for held in (self._waiting, self._reading):
            if (sequence := held.pop(id, None)) is not None:
                return self._end(sequence, "cancelled")
        for sequence in self._writing.values():
            if sequence.id == id:
                del self._writing[sequence.slot]
                return self._end(sequence, "cancelled")
        return None

    def turn(self) -> list[Event]:
        """Do a little for everybody; returns the news. Raises what the decoder does: then `fail` is due."""
        self._admit()
        self._read_prompts()
        self._write()
        return self._take_events()

    def fail(self, error: TinyGPTError) -> list[Event]:
        """End all requests with `error`; streams are told first what they wrote. Nothing may be submitted until `reset`
        has freed the slots."""
        for sequence in self._writing.values():
            self._tell(sequence, self._clock())
        failed = [*self._writing.values(), *self._reading.values(), *self._waiting.values()]
        for held in (self._writing, self._reading, self._waiting):
            held.clear()
        return self._take_events() + [Event(sequence.id, error=error) for sequence in failed]

    def reset(self) -> None:
        """Free every slot. Raises what the decoder does, which is then of no more use."""
        for slot in range(self._decoder.slots):
            self._decoder.free(slot)
        self._free = list(reversed(range(self._decoder.slots)))

    def _admit(self) -> None:
        now = self._clock()
        while self._waiting and self._free:
            _, sequence = self._waiting.popitem(last=False)
            sequence.slot, sequence.admitted_at = self._free.pop(), now
            self._reading[sequence.id] = sequence

    def _read_prompts(self) -> None:
        budget = self._prefill_tokens
        chunks: dict[int, Sequence[int]] = {}
        for sequence in self._reading.values():
            if budget <= 0:
                break
            chunk = chunks[sequence.slot] = sequence.unread(budget)
            sequence.read += len(chunk)
            budget -= len(chunk)
        if not chunks:
            return
        self._decoder.prefill(chunks)
        now = self._clock()
        for sequence in [one for one in self._reading.values() if not one.unread(1)]:
            request = sequence.request
            self._decoder.begin(
                sequence.slot,
                request.sampling,
                max_new_tokens=request.max_new_tokens,
                top_logprobs=request.logprobs or 0,
            )
            sequence.began_at = now
            del self._reading[sequence.id]
            self._writing[sequence.slot] = sequence

    def _write(self) -> None:
        if not self._writing:
            return
        started = self._clock()
        written = self._decoder.step(self._steps())
        now = self._clock()
        self._seconds_a_token = max(now - started, 1e-6) / max(1, sum(len(part.ids) for part in written))
        for part in written:
            sequence = self._writing[part.slot]
            reason = sequence.take(part, now)
            if reason is not None:
                del self._writing[part.slot]
                self._end(sequence, reason)
            elif now - sequence.told_at >= self._tell_seconds:
                self._tell(sequence, now)

    def _steps(self) -> int:
        """One, so that prompts are read on and a first token is told at once, else as many as the time allows."""
        if self._reading or any(one.is_new and one.request.streams for one in self._writing.values()):
            return 1
        return max(1, int(self._seconds / (self._seconds_a_token * len(self._writing))))

    def _tell(self, sequence: DecodedSequence, now: float) -> None:
        """Of one that streams, what came since it was told last."""
        if not sequence.request.streams:
            return
        text, tokens = sequence.news()
        if text or tokens.ids:
            sequence.told_at = now
            self._events.append(Event(sequence.id, text, tokens))

    def _end(self, sequence: DecodedSequence, reason: FinishReason | Literal["nan"]) -> None:
        if sequence.slot >= 0:
            self._decoder.free(sequence.slot)
            self._free.append(sequence.slot)
        if reason == "nan":
            self._tell(sequence, self._clock())
            self._events.append(Event(sequence.id, error=TinyGPTError(NOT_A_NUMBER)))
        else:
            self._events.append(sequence.end(reason, self._clock()))

    def _take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events
