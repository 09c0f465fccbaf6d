"""A request for one sequence, what comes of it, and its way from the one to the other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from tinygpt.contracts.errors import TinyGPTError
from tinygpt.contracts.generation import FinishReason, SampledRequest
from tinygpt.data.tokenizer import Tokenizer
from tinygpt.inference.decoder import Top, Written
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.inference.stop_strings import TextUntilStop

NOT_A_NUMBER = (
    "The model computes NaN in place of the next token's probabilities: its weights are damaged or too large. Try "
    "another prompt, or serve another model."
)
"""What is said of a request whose decoding ends by `nan`."""
_SEEDS = 2**63


def sampling_parameters(request: SampledRequest, *, choice: int = 0) -> SamplingParameters:
    """How a choice of the request is sampled: choice i with the seed `seed + i`, where there is one."""
    asked = {field.name: getattr(request, field.name) for field in fields(SamplingParameters)}
    if request.seed is not None:
        asked["seed"] = (request.seed + choice) % _SEEDS
    return SamplingParameters(**asked)


@dataclass(frozen=True)
class DecodeRequest:
    """One sequence to write. With `logprobs`, log probabilities are kept, and so many of the likeliest tokens at each
    place. One that `streams` tells its text as it comes, any other with its end."""

    prompt_ids: Sequence[int]
    sampling: SamplingParameters
    max_new_tokens: int
    stop: Sequence[str] = ()
    logprobs: int | None = None
    streams: bool = False


@dataclass(frozen=True)
class Tokens:
    """Tokens with their log probabilities; `top` is empty unless some of the likeliest were asked for."""

    ids: Sequence[int] = ()
    logprobs: Sequence[float] = ()
    top: Sequence[Top] = ()


@dataclass(frozen=True)
class Decoded:
    """What a request ended with: the text, which ends before a stop string, and the tokens that lie in it, without
    `<EOS>`. Times are in seconds by the scheduler's clock."""

    text: str
    tokens: Tokens
    tokens_written: int
    """Those of the stop string too."""
    finish_reason: FinishReason
    prompt_tokens: int
    """Those that were read: fewer than there are where it was cancelled before."""
    queue_seconds: float
    prefill_seconds: float
    decode_seconds: float
    first_token_seconds: float | None
    """From its submission; None where it wrote no token."""


@dataclass(frozen=True)
class Event:
    """News of one request: what it wrote since the event before (only if it streams), and at last `decoded`, or the
    `error` that ended it. Nothing follows those."""

    id: int
    text: str = ""
    tokens: Tokens = Tokens()
    decoded: Decoded | None = None
    error: TinyGPTError | None = None


class DecodedSequence:
    """A request on its way through a scheduler: what was read of its prompt, what it has written, and when."""

    def __init__(self, id: int, request: DecodeRequest, tokenizer: Tokenizer, submitted_at: float) -> None:
        self.id = id
        self.request = request
        self.slot = -1
        """-1 where it has none yet."""
        self.read = 0
        """Tokens of the prompt that the decoder has."""
        self.submitted_at = submitted_at
        self.admitted_at: float | None = None
        self.began_at: float | None = None
        self.told_at = -math.inf
        """When there was news of it last."""
        self._first_token_at: float | None = None
        self._decode = tokenizer.decode
        self._text = TextUntilStop(tokenizer.text_decoder(), request.stop)
        self._looks_at_text = request.streams or bool(request.stop)
        self._ids: list[int] = []
        self._logprobs: list[float] = []
        self._top: list[Top] = []
        self._told = (0, 0)
        """Characters and tokens."""

    @property
    def is_new(self) -> bool:
        """Whether its first token is still to come."""
        return self._first_token_at is None

    def unread(self, most: int) -> Sequence[int]:
        """The next tokens of the prompt."""
        return self.request.prompt_ids[self.read : self.read + most]

    def take(self, written: Written, now: float) -> FinishReason | Literal["nan"] | None:
        """Add what the slot wrote, up to a stop string; returns why that was the last."""
        count = self._text.add(written.ids) if self._looks_at_text else len(written.ids)
        self._ids += written.ids[:count]
        if self.request.logprobs is not None:
            self._logprobs += written.logprobs[:count]
            self._top += written.top[:count]
        if self._first_token_at is None and self._ids:
            self._first_token_at = now
        return "stop" if self._text.stopped else written.ended

    def news(self, *, ended: bool = False) -> tuple[str, Tokens]:
        """What came since the last call and will stay."""
        ready, told = self._text.ready(ended=ended), self._told
        self._told = ready
        return self._text.text[told[0] : ready[0]], self._tokens(told[1], ready[1])

    def end(self, reason: FinishReason, now: float) -> Event:
        text, count = self._decode(self._ids), len(self._ids)
        if self._text.stopped:
            (_, count), text = self._text.ready(ended=True), self._text.text
        admitted_at = now if self.admitted_at is None else self.admitted_at
        began_at = now if self.began_at is None else self.began_at
        first = self._first_token_at
        decoded = Decoded(
            text=text,
            tokens=self._tokens(0, count),
            tokens_written=len(self._ids),
            finish_reason=reason,
            prompt_tokens=self.read,
            queue_seconds=admitted_at - self.submitted_at,
            prefill_seconds=began_at - admitted_at,
            decode_seconds=now - began_at,
            first_token_seconds=None if first is None else first - self.submitted_at,
        )
        text, tokens = self.news(ended=True) if self.request.streams else ("", Tokens())
        return Event(self.id, text, tokens, decoded)

    def _tokens(self, start: int, end: int) -> Tokens:
        return Tokens(self._ids[start:end], self._logprobs[start:end], self._top[start:end])
