"""Beam search: the most likely whole answer instead of the most likely next token. `tinygpt generate --beams` uses it.

At every length the `beams` most likely prefixes are kept and continued (Lowerre, "Harpy", 1976). One that ends leaves
one beam less (Sutskever et al., 2014). A longer text is less likely than any of its prefixes, so texts are compared by
log probability divided by length to the power of `length_penalty` (Wu et al., 2016, without their constant): at 0 short
texts win, at 1 the mean per token decides.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tinygpt.contracts.errors import TinyGPTError
from tinygpt.contracts.generation import FinishReason
from tinygpt.data.tokenizer import EOS
from tinygpt.inference.sampling import NEVER_GENERATED
from tinygpt.inference.sequence import NOT_A_NUMBER
from tinygpt.model.cache import Cache
from tinygpt.model.transformer import TinyGPT


@dataclass(frozen=True)
class Hypothesis:
    """A finished answer without its `<EOS>`, which counts in log probability and length."""

    ids: tuple[int, ...]
    logprob: float
    score: float
    """`logprob / length ** length_penalty`, by which answers are compared."""
    finish_reason: FinishReason


@dataclass(frozen=True)
class _Prefix:
    """An unfinished answer. `next` (vocab,) is the log probability of the prefix with each token after it."""

    ids: tuple[int, ...]
    next: Tensor
    cache: Cache


@torch.inference_mode()
def beam_search(
    model: TinyGPT, prompt_ids: Sequence[int], *, beams: int, max_new_tokens: int, length_penalty: float = 1.0
) -> list[Hypothesis]:
    """The best answers found, at most `beams`, best first. One beam is greedy decoding.

    `prompt_ids` leave room in the context (see `request.encode_prompt`); `beams` and `max_new_tokens` are at least 1.
    The search ends when no prefix can become better than the best answer. Raises `TinyGPTError` if the network
    computes NaN.
    """
    room = min(max_new_tokens, model.config.context_length - len(prompt_ids))
    cache = model.make_cache()
    prefixes = [_Prefix((), _next_logprobs(model, prompt_ids, cache), cache)]
    found: list[Hypothesis] = []
    for length in range(1, room + 1):
        normaliser = length**length_penalty
        unfinished: list[tuple[_Prefix, int, float]] = []
        for prefix, token, logprob in _most_likely(prefixes, beams - len(found)):
            if token == EOS:
                found.append(Hypothesis(prefix.ids, logprob, logprob / normaliser, "eos"))
            else:
                unfinished.append((prefix, token, logprob))
        if length == room:
            found += [
                Hypothesis((*prefix.ids, token), logprob, logprob / normaliser, "length")
                for prefix, token, logprob in unfinished
            ]
            break
        best = max((hypothesis.score for hypothesis in found), default=-torch.inf)
        attainable = max((logprob / room**length_penalty for _, _, logprob in unfinished), default=-torch.inf)
        if attainable <= best:
            break
        prefixes = _extend(model, unfinished)
    return sorted(found, key=lambda hypothesis: -hypothesis.score)


def _most_likely(prefixes: Sequence[_Prefix], count: int) -> list[tuple[_Prefix, int, float]]:
    """The `count` most likely pairs of a prefix and its next token, with their log probability."""
    every = torch.stack([prefix.next for prefix in prefixes])
    logprobs, places = every.flatten().topk(min(count, every.numel()))
    return [
        (prefixes[place // every.size(1)], place % every.size(1), logprob)
        for logprob, place in zip(logprobs.tolist(), places.tolist(), strict=True)
        if logprob > -torch.inf
    ]


def _extend(model: TinyGPT, chosen: Sequence[tuple[_Prefix, int, float]]) -> list[_Prefix]:
    """Run the model on each prefix's new token. If several extend one prefix, all but the last copy its cache."""
    last_use = {id(prefix.cache): i for i, (prefix, _, _) in enumerate(chosen)}
    extended = []
    for i, (prefix, token, logprob) in enumerate(chosen):
        shared = last_use[id(prefix.cache)] != i
        cache = copy.deepcopy(prefix.cache) if shared else prefix.cache
        extended.append(_Prefix((*prefix.ids, token), logprob + _next_logprobs(model, [token], cache), cache))
    return extended


def _next_logprobs(model: TinyGPT, ids: Sequence[int], cache: Cache) -> Tensor:
    """Log probabilities of the next token (vocab,), minus infinity for those never generated."""
    features = model.features(torch.tensor([ids], device=model.device), cache)
    logprobs = model.head(features[0, -1]).float().log_softmax(dim=-1)
    if logprobs.isnan().any():
        raise TinyGPTError(NOT_A_NUMBER)
    logprobs[list(NEVER_GENERATED)] = -torch.inf
    masked: Tensor = logprobs
    return masked
