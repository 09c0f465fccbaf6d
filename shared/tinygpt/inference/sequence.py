"""One sequence: what is asked of it, what it generates, and its way through a scheduler."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from tinygpt.contracts.errors import TinyGPTError
from tinygpt.contracts.generation import FinishReason
from tinygpt.data.tokenizer import Tokenizer
from tinygpt.inference.decoder import SlotOutput, TopLogprobs
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.inference.stop_strings import TextUntilStop

NOT_A_NUMBER = (
    "The model computes NaN in place of the next token's probabilities: its weights are damaged or too large. Try "
    "another prompt, or serve another model."
)
"""The error message of a sequence that ends by `nan`."""


@dataclass(frozen=True)
class SequenceRequest:
    """One sequence to generate."""

    prompt_ids: Sequence[int]
    """At least one token, with room for another in the context (see `request.encode_prompt`)."""
    sampling: SamplingParameters
    max_new_tokens: int
    stop: Sequence[str] = ()
    logprobs: int | None = None
    """Keep each token's log probability, and those of this many most likely tokens. None keeps none."""
    stream: bool = False
    """Give outputs while the sequence is generated, instead of one at its end."""


@dataclass(frozen=True)
class Finished:
    """How a sequence finished, for its answer and for metrics. Times are in seconds by the scheduler's clock."""

    finish_reason: FinishReason
    prompt_tokens: int
    """Tokens of the prompt that were read. Fewer than it has if the sequence was cancelled in prefill."""
    completion_tokens: int
    """Tokens generated, those of a stop string included and `<EOS>` not."""
    queue_seconds: float
    prefill_seconds: float
    decode_seconds: float
    first_token_seconds: float | None
    """From its arrival to its first token. None if it has none."""


@dataclass(frozen=True)
class SequenceOutput:
    """What a sequence generated since the output before. All its outputs in a row are the whole sequence.

    The text ends before a stop string, and the tokens are those that lie in the text, without `<EOS>`. `logprobs` and
    `top` are empty unless they were asked for.
    """

    id: int
    text: str = ""
    ids: Sequence[int] = ()
    logprobs: Sequence[float] = ()
    top: Sequence[TopLogprobs] = ()
    end: Finished | TinyGPTError | None = None
    """Set in the last output: how the sequence finished, or the error that ended it."""


def join_outputs(outputs: Sequence[SequenceOutput]) -> SequenceOutput:
    """The whole sequence, from all its outputs in order."""
    if len(outputs) == 1:
        return outputs[0]
    return SequenceOutput(
        outputs[-1].id,
        "".join(output.text for output in outputs),
        list(chain.from_iterable(output.ids for output in outputs)),
        list(chain.from_iterable(output.logprobs for output in outputs)),
        list(chain.from_iterable(output.top for output in outputs)),
        outputs[-1].end,
    )


class ScheduledSequence:
    """A request on its way through a scheduler: how much of its prompt was read, and what it has generated."""

    def __init__(self, id: int, request: SequenceRequest, tokenizer: Tokenizer, arrived_at: float) -> None:
        self.id = id
        self.request = request
        self.slot = -1
        """-1 while it waits for one."""
        self.prefilled = 0
        """Tokens of the prompt that the decoder has read."""
        self.arrived_at = arrived_at
        self.scheduled_at: float | None = None
        """When it got its slot."""
        self.decode_started_at: float | None = None
        self.emitted_at = -math.inf
        """Time of its last output."""
        self._first_token_at: float | None = None
        self._decode_text = tokenizer.decode
        self._text = TextUntilStop(tokenizer.text_decoder(), request.stop)
        self._tracks_text = request.stream or bool(request.stop)
        """Otherwise its text is decoded once, at the end."""
        self._ids: list[int] = []
        self._logprobs: list[float] = []
        self._top: list[TopLogprobs] = []
        self._emitted = (0, 0)
        """Characters and tokens."""

    @property
    def awaits_first_token(self) -> bool:
        return self._first_token_at is None

    def next_chunk(self, max_tokens: int) -> Sequence[int]:
        """The next tokens of the prompt to read; empty once all were read."""
        return self.request.prompt_ids[self.prefilled : self.prefilled + max_tokens]

    def append(self, output: SlotOutput, now: float) -> FinishReason | Literal["nan"] | None:
        """Add what the slot generated, up to a stop string. Returns why the sequence ends, or None."""
        count = self._text.add(output.ids) if self._tracks_text else len(output.ids)
        self._ids += output.ids[:count]
        if self.request.logprobs is not None:
            self._logprobs += output.logprobs[:count]
            self._top += output.top[:count]
        if self._first_token_at is None and self._ids:
            self._first_token_at = now
        return "stop" if self._text.stopped else output.finish_reason

    def output(self, finished: Finished | None = None) -> SequenceOutput:
        """What came since the last call and is certain to stay. Everything is once the sequence has `finished`."""
        if self._tracks_text:
            text = self._text.text
            emitted = self._text.ready(ended=finished is not None)
        else:
            text = self._decode_text(self._ids)
            emitted = len(text), len(self._ids)
        (characters, tokens), self._emitted = self._emitted, emitted
        return SequenceOutput(
            self.id,
            text[characters : emitted[0]],
            self._ids[tokens : emitted[1]],
            self._logprobs[tokens : emitted[1]],
            self._top[tokens : emitted[1]],
            finished,
        )

    def finish(self, reason: FinishReason, now: float) -> SequenceOutput:
        """The last output."""
        scheduled_at = now if self.scheduled_at is None else self.scheduled_at
        decode_started_at = now if self.decode_started_at is None else self.decode_started_at
        first = self._first_token_at
        return self.output(
            Finished(
                finish_reason=reason,
                prompt_tokens=self.prefilled,
                completion_tokens=len(self._ids),
                queue_seconds=scheduled_at - self.arrived_at,
                prefill_seconds=decode_started_at - scheduled_at,
                decode_seconds=now - decode_started_at,
                first_token_seconds=None if first is None else first - self.arrived_at,
            )
        )
