"""Decoding one sequence: read the prompt at once, then token by token with a cache."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from tinygpt.contracts.generation import FinishReason
from tinygpt.data.tokenizer import EOS
from tinygpt.inference.sampling import SamplingParameters, next_token_probabilities, sample
from tinygpt.model.transformer import TinyGPT


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
    generator = torch.Generator()
    if parameters.seed is None:
        generator.seed()
    else:
        generator.manual_seed(parameters.seed)
    cache = model.make_cache() if use_cache else None
    ids = list(prompt_ids)
    output: list[int] = []
    unread = ids
    room = min(max_new_tokens, model.config.context_length - len(ids))
    for _ in range(room):
        if should_stop():
            return Decoded(output, "cancelled")
        logits = model(torch.tensor([unread], device=model.device), cache)[0, -1]
        probabilities = next_token_probabilities(logits, output[-parameters.repetition_window :], parameters)
        token = sample(probabilities.cpu(), generator)
        if token == EOS:
            return Decoded(output, "eos")
        ids.append(token)
        output.append(token)
        unread = [token] if use_cache else ids
    return Decoded(output, "length")
