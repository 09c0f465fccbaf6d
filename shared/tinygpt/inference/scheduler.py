"""Continuous batching: sequences take and leave a decoder's slots at any step (Yu et al., "Orca", 2022).

A turn gives free slots to waiting sequences, prefills up to a budget of prompt tokens, lets the decoding sequences
generate for a few milliseconds, and returns what came of it. Turns are long enough that the Python between them costs
little, and short enough that a client sees no delay. The scheduler has no thread, and its clock is passed in.

First come, first served, both for slots and for prefill. A long prompt is prefilled in chunks, with decoding between
them, so it delays the decoding sequences by one turn's budget at most. Nobody starves: a sequence generates a bounded
number of tokens, and nobody overtakes another in the queue.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Literal

from tinygpt.contracts.errors import TinyGPTError
from tinygpt.contracts.generation import FinishReason
from tinygpt.data.tokenizer import Tokenizer
from tinygpt.inference.decoder import Decoder
from tinygpt.inference.sequence import NOT_A_NUMBER, ScheduledSequence, SequenceOutput, SequenceRequest

EMIT_INTERVAL = 0.02
"""Seconds between two outputs of a stream, at least: faster than the eye can follow."""


class Scheduler:
    """For one thread at a time."""

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        *,
        prefill_tokens: int = 256,
        decode_seconds: float = 0.004,
        emit_interval: float = EMIT_INTERVAL,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`prefill_tokens` and `decode_seconds` bound a turn: prompt tokens to read, and seconds to generate for, by
        the pace of the turn before. A stream has an output at once for its first token, then at most one per
        `emit_interval` seconds. With many streams, sending outputs is a server's largest cost."""
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._prefill_tokens = prefill_tokens
        self._decode_seconds = decode_seconds
        self._seconds_per_token = decode_seconds
        self._emit_interval = emit_interval
        self._clock = clock
        self._free_slots = list(reversed(range(decoder.slots)))
        self._waiting: OrderedDict[int, ScheduledSequence] = OrderedDict()
        self._prefilling: dict[int, ScheduledSequence] = {}
        """By id, both in the order of arrival."""
        self._decoding: dict[int, ScheduledSequence] = {}
        """By slot."""
        self._outputs: list[SequenceOutput] = []

    @property
    def waiting(self) -> int:
        """Sequences without a slot."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Sequences with a slot, in prefill or decoding."""
        return len(self._prefilling) + len(self._decoding)

    @property
    def busy(self) -> bool:
        """True if a turn has something to do."""
        return bool(self._waiting or self._prefilling or self._decoding or self._outputs)

    def submit(self, id: int, request: SequenceRequest, *, arrived_at: float | None = None) -> None:
        """Add a sequence to the end of the queue. `arrived_at` is by the scheduler's clock, and now if left out."""
        now = self._clock() if arrived_at is None else arrived_at
        self._waiting[id] = ScheduledSequence(id, request, self._tokenizer, now)

    def cancel(self, id: int) -> None:
        """Finish the sequence as `cancelled`, with what it has; its slot is free in the next turn. An unknown or
        finished id is ignored."""
        for held in (self._waiting, self._prefilling):
            if (sequence := held.pop(id, None)) is not None:
                return self._finish(sequence, "cancelled")
        for sequence in self._decoding.values():
            if sequence.id == id:
                del self._decoding[sequence.slot]
                return self._finish(sequence, "cancelled")
        return None

    def turn(self) -> list[SequenceOutput]:
        """Do some work for every sequence and return the outputs. Raises what the decoder raises: then call `fail`."""
        self._schedule()
        self._prefill()
        self._decode()
        return self._take_outputs()

    def fail(self, error: TinyGPTError) -> list[SequenceOutput]:
        """End all sequences with `error`, streams after an output of what they have. Nothing may be submitted until
        `reset` has freed the slots."""
        for sequence in self._decoding.values():
            self._emit(sequence, self._clock())
        failed = [*self._decoding.values(), *self._prefilling.values(), *self._waiting.values()]
        for held in (self._decoding, self._prefilling, self._waiting):
            held.clear()
        return self._take_outputs() + [SequenceOutput(sequence.id, end=error) for sequence in failed]

    def reset(self) -> None:
        """Free every slot. If the decoder raises, it can't be used any more."""
        for slot in range(self._decoder.slots):
            self._decoder.free(slot)
        self._free_slots = list(reversed(range(self._decoder.slots)))

    def _schedule(self) -> None:
        """Give free slots to those that wait."""
        now = self._clock()
        while self._waiting and self._free_slots:
            _, sequence = self._waiting.popitem(last=False)
            sequence.slot, sequence.scheduled_at = self._free_slots.pop(), now
            self._prefilling[sequence.id] = sequence

    def _prefill(self) -> None:
        budget = self._prefill_tokens
        chunks: dict[int, Sequence[int]] = {}
        for sequence in self._prefilling.values():
            if budget <= 0:
                break
            chunk = chunks[sequence.slot] = sequence.next_chunk(budget)
            sequence.prefilled += len(chunk)
            budget -= len(chunk)
        if not chunks:
            return
        self._decoder.prefill(chunks)
        now = self._clock()
        for sequence in [one for one in self._prefilling.values() if not one.next_chunk(1)]:
            request = sequence.request
            self._decoder.begin(
                sequence.slot,
                request.sampling,
                max_new_tokens=request.max_new_tokens,
                top_logprobs=request.logprobs or 0,
            )
            sequence.decode_started_at = now
            del self._prefilling[sequence.id]
            self._decoding[sequence.slot] = sequence

    def _decode(self) -> None:
        if not self._decoding:
            return
        started = self._clock()
        outputs = self._decoder.step(self._steps())
        now = self._clock()
        self._seconds_per_token = max(now - started, 1e-6) / max(1, sum(len(output.ids) for output in outputs))
        for output in outputs:
            sequence = self._decoding[output.slot]
            reason = sequence.append(output, now)
            if reason is not None:
                del self._decoding[output.slot]
                self._finish(sequence, reason)
            elif now - sequence.emitted_at >= self._emit_interval:
                self._emit(sequence, now)

    def _steps(self) -> int:
        """One if a prompt is in prefill or a stream awaits its first token, else as many as the time allows."""
        if self._prefilling or any(one.awaits_first_token and one.request.stream for one in self._decoding.values()):
            return 1
        return max(1, int(self._decode_seconds / (self._seconds_per_token * len(self._decoding))))

    def _emit(self, sequence: ScheduledSequence, now: float) -> None:
        """Put out what a stream has generated since its last output."""
        if not sequence.request.stream:
            return
        output = sequence.output()
        if output.text or output.ids:
            sequence.emitted_at = now
            self._outputs.append(output)

    def _finish(self, sequence: ScheduledSequence, reason: FinishReason | Literal["nan"]) -> None:
        if sequence.slot >= 0:
            self._decoder.free(sequence.slot)
            self._free_slots.append(sequence.slot)
        if reason == "nan":
            self._emit(sequence, self._clock())
            self._outputs.append(SequenceOutput(sequence.id, end=TinyGPTError(NOT_A_NUMBER)))
        else:
            self._outputs.append(sequence.finish(reason, self._clock()))

    def _take_outputs(self) -> list[SequenceOutput]:
        outputs, self._outputs = self._outputs, []
        return outputs
