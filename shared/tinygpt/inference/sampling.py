"""From logits to the next token: small pure functions on one sequence's logits, shape (vocab,)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tinygpt.data.tokenizer import CODE, PAD, PROMPT, UNK

NEVER_GENERATED = (PAD, UNK, PROMPT, CODE)
"""Control tokens that no answer contains; `<EOS>` ends one."""
_SMALLEST_TEMPERATURE = 1e-6
"""Below it the draw is greedy: single precision can't divide by much less, and the result is the same."""


@dataclass(frozen=True)
class SamplingParameters:
    """How to choose. `temperature` 0 is greedy; `seed` None draws a fresh one."""

    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    repetition_window: int = 64
    seed: int | None = None


def penalise_repetition(logits: Tensor, recent: Sequence[int], penalty: float) -> Tensor:
    """Make each distinct token of `recent` less likely, once (Keskar et al., "CTRL", 2019): a positive logit is
    divided by `penalty`, a negative one multiplied."""
    if penalty == 1.0 or not recent:
        return logits
    tokens = torch.tensor(sorted(set(recent)), device=logits.device)
    seen = logits[tokens]
    return logits.index_copy(0, tokens, torch.where(seen > 0, seen / penalty, seen * penalty))


def keep_top_p(probabilities: Tensor, top_p: float) -> Tensor:
    """Zero all but the smallest set of likeliest tokens whose probability reaches `top_p`, and rescale to sum 1
    (Holtzman et al., 2020). The token that crosses the boundary stays, so one always does."""
    if top_p >= 1.0:
        return probabilities
    ordered, order = probabilities.sort(descending=True, stable=True)
    mass_before = ordered.cumsum(0) - ordered
    outside = mass_before >= top_p
    outside[0] = False  # a top_p that is 0 in single precision
    ordered = ordered.masked_fill(outside, 0.0)
    kept = torch.zeros_like(probabilities).scatter(0, order, ordered)
    return kept / kept.sum()


def next_token_probabilities(logits: Tensor, recent: Sequence[int], parameters: SamplingParameters) -> Tensor:
    """The distribution that the next token is drawn from; greedy has all its mass on one token."""
    logits = logits.float().index_fill(0, torch.tensor(NEVER_GENERATED, device=logits.device), float("-inf"))
    logits = penalise_repetition(logits, recent, parameters.repetition_penalty)
    if parameters.temperature < _SMALLEST_TEMPERATURE:
        return torch.zeros_like(logits).index_fill(0, logits.argmax(), 1.0)
    # Subtracting the largest first keeps a small temperature from overflowing to inf - inf.
    probabilities = torch.softmax((logits - logits.max()) / parameters.temperature, dim=-1)
    return keep_top_p(probabilities, parameters.top_p)


def sample(probabilities: Tensor, generator: torch.Generator) -> int:
    """Draw a token id."""
    return int(torch.multinomial(probabilities, 1, generator=generator))
