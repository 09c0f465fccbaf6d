"""What decodes: slots that hold one sequence each, filled by `prefill`, continued by `step`, given back by `free`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch

from tinygpt.contracts.generation import FinishReason
from tinygpt.data.tokenizer import EOS
from tinygpt.inference.sampling import SamplingParameters, generated_tokens, next_token
from tinygpt.model.transformer import TinyGPT

Ended = Literal["eos", "length"]
Backend = Literal["auto", "torch", "compiled"]
Weights = Literal["float32", "bfloat16", "int8"]
Top = tuple[tuple[int, float], ...]
"""The likeliest tokens at one place with their log probabilities, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Written:
    """What one slot wrote in a call of `step`. `<EOS>` is not among the ids. `ended` says why it writes no more.

    `ids` and `logprobs` are plain lists of the same length; so is `top`, where `begin` asked for any, else it is empty.
    A log probability is the model's own: of the whole vocabulary, before penalty, temperature and cuts.
    """

    slot: int
    ids: list[int]
    logprobs: list[float]
    top: list[Top]
    ended: Ended | None


class Decoder(Protocol):
    """Decodes up to `slots` sequences side by side. For one thread at a time, but for `interrupt`.

    What a slot writes depends on its own prompt and parameters alone: never on what the other slots hold.
    """

    @property
    def slots(self) -> int: ...

    @property
    def context_length(self) -> int: ...

    def prefill(self, slot: int, ids: Sequence[int]) -> None:
        """Read `ids` into `slot`, after those that it holds: a long prompt may come in chunks.

        Raises `ValueError` where they would fill the context: a token must still fit.
        """

    def begin(self, slot: int, sampling: SamplingParameters, *, max_new_tokens: int, top_logprobs: int = 0) -> None:
        """The prompt is whole: from the next `step` on, the slot writes. It ends with `<EOS>`, after `max_new_tokens`
        (at least 1) or where the context is full, whichever comes first."""

    def step(self, steps: int = 1) -> Sequence[Written]:
        """Let every slot that writes add a token, `steps` times; less often where a slot ended or `interrupt` was
        called. One `Written` for each slot that wrote or ended.

        An `interrupt` that comes while no `step` is under way lets the next one return after its first token.
        """

    def interrupt(self) -> None:
        """Let a `step` that another thread is in return after the token it is at."""

    def free(self, slot: int) -> None:
        """Forget the slot's sequence, whatever its state."""


@dataclass(frozen=True)
class Decoded:
    """Token ids after the prompt, without the `<EOS>` that may have ended them."""

    ids: list[int]
    finish_reason: FinishReason


@torch.inference_mode()
def decode(
    model: TinyGPT,
    prompt_ids: Sequence[int],
    parameters: SamplingParameters,
    *,
    max_new_tokens: int,
    should_stop: Callable[[], bool] = lambda: False,
    use_cache: bool = True,
) -> Decoded:
    """Continue `prompt_ids` until `<EOS>`, `max_new_tokens`, the end of the context, or `should_stop()`.

    Without the cache the whole sequence is read anew for every token: slower, the same tokens.
    The same seed gives the same tokens, whatever else the process does.
    """
    allowed, sampling = generated_tokens(model.config.vocab_size), parameters.record()
    cache = model.make_cache() if use_cache else None
    ids = list(prompt_ids)
    output: list[int] = []
    unread = ids
    room = min(max_new_tokens, model.config.context_length - len(ids))
    for _ in range(room):
        if should_stop():
            return Decoded(output, "cancelled")
        logits = model(torch.tensor([unread], device=model.device), cache)[0, -1].float().cpu().numpy()
        token, _ = next_token(logits, allowed, np.array(output, np.int32), sampling, len(output))
        if token == EOS:
            return Decoded(output, "eos")
        ids.append(token)
        output.append(token)
        unread = [token] if use_cache else ids
    return Decoded(output, "length")
