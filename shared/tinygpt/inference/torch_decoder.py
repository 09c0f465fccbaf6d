"""The reference decoder: the model as PyTorch runs it, every architecture on every device."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tinygpt.data.tokenizer import EOS, Tokenizer
from tinygpt.inference.balance import balanced_tokens, token_texts
from tinygpt.inference.decoder import Ended, Top, Written
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
class _Writer:
    """What a slot that writes was told, and what it has written."""

    sampling: Any
    """A `SAMPLING` record."""
    limit: int
    """Tokens it may write."""
    top_logprobs: int
    output: list[int] = field(default_factory=list)
    ended: Ended | None = None


class TorchDecoder:
    """`Decoder` in as few lines as it takes. Each slot has a cache and forward passes of its own, so that what it
    writes is the same bit for bit whatever the others do; many slots are no faster than one after the other."""

    def __init__(self, model: TinyGPT, tokenizer: Tokenizer | None = None, *, slots: int = 1) -> None:
        """Without its tokenizer it writes nothing that is to be `balanced`."""
        self.slots = slots
        self.context_length = model.config.context_length
        self._model = model
        self._caches: dict[int, Cache] = {}
        self._logits: dict[int, Floats] = {}
        self._writers: dict[int, _Writer] = {}
        self._allowed = generated_tokens(model.config.vocab_size)
        self._texts = token_texts(tokenizer) if tokenizer is not None else None

    def prefill(self, prompts: Mapping[int, Sequence[int]]) -> None:
        for slot, ids in prompts.items():
            if slot not in self._caches:
                self._caches[slot] = self._model.make_cache()
            length = self._caches[slot].length + len(ids)
            if length >= self.context_length:
                raise ValueError(f"{length} tokens leave no room for one more in a context of {self.context_length}")
            self._read(slot, ids)

    def begin(self, slot: int, sampling: SamplingParameters, *, max_new_tokens: int, top_logprobs: int = 0) -> None:
        if sampling.balanced and self._texts is None:
            raise ValueError("brackets and quotes can't be balanced without the tokenizer")
        room = self.context_length - self._caches[slot].length
        self._writers[slot] = _Writer(sampling.record(), min(max_new_tokens, room), top_logprobs)

    def step(self, steps: int = 1) -> Sequence[Written]:  # noqa: ARG002  (one a call: each takes long enough)
        writing = {slot: writer for slot, writer in self._writers.items() if writer.ended is None}
        return [self._write(slot, writer) for slot, writer in writing.items()]

    def interrupt(self) -> None:
        """A call of `step` is one step anyway."""

    def free(self, slot: int) -> None:
        for held in (self._caches, self._logits, self._writers):
            held.pop(slot, None)

    @torch.inference_mode()
    def _read(self, slot: int, ids: Sequence[int]) -> None:
        """Keep the logits of the token that comes after `ids`."""
        features = self._model.features(torch.tensor([ids], device=self._model.device), self._caches[slot])
        self._logits[slot] = self._model.head(features[0, -1]).float().cpu().numpy()

    def _write(self, slot: int, writer: _Writer) -> Written:
        """Add a token, or end with `<EOS>`."""
        if writer.output:
            self._read(slot, writer.output[-1:])
        logits = self._logits[slot]
        output = np.array(writer.output, np.int32)
        allowed = self._allowed
        if writer.sampling["balanced"] and self._texts is not None:
            allowed = balanced_tokens(allowed, self._texts, output)
        token, logprob = next_token(logits, allowed, output, writer.sampling, len(output))
        if math.isnan(logprob) or token == EOS:
            writer.ended = "nan" if math.isnan(logprob) else "eos"
            return Written(slot, [], [], [], writer.ended)
        writer.output.append(token)
        if len(writer.output) == writer.limit:
            writer.ended = "length"
        return Written(slot, [token], [logprob], _top(logits, writer.top_logprobs), writer.ended)


def _top(logits: Floats, count: int) -> list[Top]:
    if not count:
        return []
    ids, logprobs = top_logprobs(logits, count)
    return [tuple(zip(ids.tolist(), logprobs.tolist(), strict=True))]
