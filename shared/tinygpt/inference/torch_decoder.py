"""The reference decoder: the model as PyTorch runs it, for every architecture and device."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tinygpt.data.tokenizer import EOS, Tokenizer
from tinygpt.inference.balance import balanced_tokens, token_texts
from tinygpt.inference.decoder import SlotFinishReason, SlotOutput, TopLogprobs
from tinygpt.inference.sampling import (
    Floats,
    SamplingParameters,
    generated_tokens,
    next_token,
    top_logprobs,
)
from tinygpt.model.cache import Cache
from tinygpt.model.transformer import TinyGPT


@dataclass
class _Generation:
    """What a slot was asked to generate, and what it has so far."""

    sampling: Any
    """A `SAMPLING` record."""
    max_tokens: int
    top_logprobs: int
    ids: list[int] = field(default_factory=list)
    finish_reason: SlotFinishReason | None = None


class TorchDecoder:
    """`Decoder` in as few lines as it takes. Each slot has a cache and forward passes of its own, so its result is the
    same bit for bit whatever the others do. Many slots are no faster than one after the other."""

    def __init__(self, model: TinyGPT, tokenizer: Tokenizer | None = None, *, slots: int = 1) -> None:
        """Only `balanced` sampling needs the tokenizer."""
        self.slots = slots
        self.context_length = model.config.context_length
        self._model = model
        self._caches: dict[int, Cache] = {}
        self._logits: dict[int, Floats] = {}
        self._generations: dict[int, _Generation] = {}
        """By slot, as the two above."""
        self._allowed = generated_tokens(model.config.vocab_size)
        self._texts = token_texts(tokenizer) if tokenizer is not None else None

    def prefill(self, prompts: Mapping[int, Sequence[int]]) -> None:
        for slot, ids in prompts.items():
            if slot not in self._caches:
                self._caches[slot] = self._model.make_cache()
            length = self._caches[slot].length + len(ids)
            if length >= self.context_length:
                raise ValueError(f"{length} tokens leave no room for one more in a context of {self.context_length}")
            self._forward(slot, ids)

    def begin(self, slot: int, sampling: SamplingParameters, *, max_new_tokens: int, top_logprobs: int = 0) -> None:
        if sampling.balanced and self._texts is None:
            raise ValueError("balanced sampling needs the tokenizer")
        room = self.context_length - self._caches[slot].length
        self._generations[slot] = _Generation(sampling.record(), min(max_new_tokens, room), top_logprobs)

    def step(self, steps: int = 1) -> Sequence[SlotOutput]:  # noqa: ARG002  (one per call: each takes long enough)
        return [
            self._generate(slot, generation)
            for slot, generation in self._generations.items()
            if generation.finish_reason is None
        ]

    def interrupt(self) -> None:
        """Nothing to do, because a call of `step` is one step."""

    def free(self, slot: int) -> None:
        for held in (self._caches, self._logits, self._generations):
            held.pop(slot, None)

    @torch.inference_mode()
    def _forward(self, slot: int, ids: Sequence[int]) -> None:
        """Run the model on `ids` and keep the logits of the token after them."""
        features = self._model.features(torch.tensor([ids], device=self._model.device), self._caches[slot])
        self._logits[slot] = self._model.head(features[0, -1]).float().cpu().numpy()

    def _generate(self, slot: int, generation: _Generation) -> SlotOutput:
        """Add a token, or finish with `<EOS>`."""
        if generation.ids:
            self._forward(slot, generation.ids[-1:])
        logits = self._logits[slot]
        output = np.array(generation.ids, np.int32)
        allowed = self._allowed
        if generation.sampling["balanced"] and self._texts is not None:
            allowed = balanced_tokens(allowed, self._texts, output)
        token, logprob = next_token(logits, allowed, output, generation.sampling, len(output))
        if math.isnan(logprob) or token == EOS:
            generation.finish_reason = "nan" if math.isnan(logprob) else "eos"
            return SlotOutput(slot, [], [], [], generation.finish_reason)
        generation.ids.append(token)
        if len(generation.ids) == generation.max_tokens:
            generation.finish_reason = "length"
        top = _top(logits, generation.top_logprobs)
        return SlotOutput(slot, [token], [logprob], top, generation.finish_reason)


def _top(logits: Floats, count: int) -> list[TopLogprobs]:
    if not count:
        return []
    ids, logprobs = top_logprobs(logits, count)
    return [tuple(zip(ids.tolist(), logprobs.tolist(), strict=True))]
