"""Continuous batching: requests take and leave a decoder's slots at any step."""

from collections.abc import Sequence
from dataclasses import dataclass

from tinygpt.contracts.errors import TinyGPTError
from tinygpt.contracts.generation import FinishReason
from tinygpt.inference.decoder import Top
from tinygpt.inference.sampling import SamplingParameters


@dataclass(frozen=True)
class DecodeRequest:
    """One sequence to write. `logprobs` is how many of the likeliest tokens to keep at each place; None keeps no log
    probabilities at all. With `streams` its text is told as it comes, else with its end."""

    prompt_ids: Sequence[int]
    sampling: SamplingParameters
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    streams: bool = False


@dataclass(frozen=True)
class Decoded:
    """What a request ended with. `ids` has no `<EOS>`; `text` ends before the stop string. Seconds by the clock."""

    ids: list[int]
    text: str
    finish_reason: FinishReason
    logprobs: list[float]
    top: list[Top]
    queue_seconds: float
    prefill_seconds: float
    decode_seconds: float
    first_token_seconds: float | None
    """From submission to the first token; None where there was none."""


@dataclass(frozen=True)
class Event:
    """News of one request: `text` that came, with the tokens that came since the event before, and at last `decoded`
    or `error`. Nothing follows those."""

    id: int
    text: str = ""
    ids: Sequence[int] = ()
    logprobs: Sequence[float] = ()
    top: Sequence[Top] = ()
    decoded: Decoded | None = None
    error: TinyGPTError | None = None
