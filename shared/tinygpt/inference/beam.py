"""Beam search: the likeliest whole answer rather than the likeliest next token, for those who compare the two.

Of every length the `beams` likeliest beginnings are kept and continued (Lowerre, "Harpy", 1976); one that ends leaves a
beam less (Sutskever et al., 2014). A longer text is less likely than any of its beginnings, so that texts of different
length are compared by log probability over length to the power of `length_penalty` (Wu et al., 2016, without their
constant): at 0 short ones win, at 1 the mean token decides.
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
    """A whole answer without its `<EOS>`, whose log probability is counted; so is it in the length."""

    ids: tuple[int, ...]
    logprob: float
    score: float
    """`logprob / length ** length_penalty`: what answers are compared by."""
    ended: FinishReason


@dataclass(frozen=True)
class _Beginning:
    """An answer that goes on: `next` (vocab,) is the log probability of every token with all those before it."""

    ids: tuple[int, ...]
    next: Tensor
    cache: Cache


@torch.inference_mode()
def beam_search(
    model: TinyGPT, prompt_ids: Sequence[int], *, beams: int, max_new_tokens: int, length_penalty: float = 1.0
) -> list[Hypothesis]:
    """The best answers that were found, at most `beams`, the best first.

    One beam is greedy decoding. It ends where no beginning can become better than the best answer.

    Raises `ValueError` for a prompt that leaves no room in the context, and for numbers below 1; `TinyGPTError` where
    the network's output is not a number.
    """
    room = min(max_new_tokens, model.config.context_length - len(prompt_ids))
    if room < 1 or beams < 1:
        raise ValueError(f"{beams} beams and room for {room} tokens: both must be at least 1")
    cache = model.make_cache()
    beginnings = [_Beginning((), _next_logprobs(model, prompt_ids, cache), cache)]
    found: list[Hypothesis] = []
    for length in range(1, room + 1):
        normaliser = length**length_penalty
        open_ones: list[tuple[_Beginning, int, float]] = []
        for beginning, token, logprob in _likeliest(beginnings, beams - len(found)):
            if token == EOS:
                found.append(Hypothesis(beginning.ids, logprob, logprob / normaliser, "eos"))
            else:
                open_ones.append((beginning, token, logprob))
        if length == room:
            found += [
                Hypothesis((*beginning.ids, token), logprob, logprob / normaliser, "length")
                for beginning, token, logprob in open_ones
            ]
            break
        best = max((hypothesis.score for hypothesis in found), default=-torch.inf)
        attainable = max((logprob / room**length_penalty for _, _, logprob in open_ones), default=-torch.inf)
        if attainable <= best:
            break
        beginnings = _continue(model, open_ones)
    return sorted(found, key=lambda hypothesis: -hypothesis.score)


def _likeliest(beginnings: Sequence[_Beginning], count: int) -> list[tuple[_Beginning, int, float]]:
    """The likeliest ways to go on by a token, with the log probability of the whole."""
    every = torch.stack([beginning.next for beginning in beginnings])
    logprobs, places = every.flatten().topk(min(count, every.numel()))
    return [
        (beginnings[place // every.size(1)], place % every.size(1), logprob)
        for logprob, place in zip(logprobs.tolist(), places.tolist(), strict=True)
        if logprob > -torch.inf
    ]


def _continue(model: TinyGPT, chosen: Sequence[tuple[_Beginning, int, float]]) -> list[_Beginning]:
    """Read each beginning's new token. Those that share a beginning need a cache each: all but its last copy it."""
    last_use = {id(beginning.cache): i for i, (beginning, _, _) in enumerate(chosen)}
    continued = []
    for i, (beginning, token, logprob) in enumerate(chosen):
        shared = last_use[id(beginning.cache)] != i
        cache = copy.deepcopy(beginning.cache) if shared else beginning.cache
        continued.append(_Beginning((*beginning.ids, token), logprob + _next_logprobs(model, [token], cache), cache))
    return continued


def _next_logprobs(model: TinyGPT, ids: Sequence[int], cache: Cache) -> Tensor:
    """(vocab,), with minus infinity for what no answer contains."""
    features = model.features(torch.tensor([ids], device=model.device), cache)
    logprobs = model.head(features[0, -1]).float().log_softmax(dim=-1)
    if logprobs.isnan().any():
        raise TinyGPTError(NOT_A_NUMBER)
    logprobs[list(NEVER_GENERATED)] = -torch.inf
    masked: Tensor = logprobs
    return masked
