"""From a request to the sequences that answer it: a prompt that fits, and how each choice is sampled."""

from dataclasses import fields

from tinygpt.contracts.errors import ContextLengthExceeded
from tinygpt.contracts.generation import GenerateRequest, SampledRequest
from tinygpt.data.tokenizer import Tokenizer
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.inference.sequence import SequenceRequest

_SEEDS = 2**63


def encode_prompt(prompt: str, tokenizer: Tokenizer, context_length: int) -> list[int]:
    """The prompt's token ids. Raises `ContextLengthExceeded` if they leave no room for another token.

    This is the only place that checks the room: everything that decodes takes its ids from here.
    """
    ids = tokenizer.encode_prompt(prompt)
    if len(ids) >= context_length:
        raise ContextLengthExceeded(
            f"The prompt has {len(prompt)} characters, {len(ids) - 2} tokens. This model takes at most "
            f"{context_length - 3} tokens: shorten the prompt, or train with a larger context_length.",
            param="prompt",
        )
    return ids


def sampling_parameters(request: SampledRequest, *, choice: int = 0) -> SamplingParameters:
    """How choice number `choice` is sampled: with the seed `seed + choice` if the request has a seed."""
    parameters = {field.name: getattr(request, field.name) for field in fields(SamplingParameters)}
    if request.seed is not None:
        parameters["seed"] = (request.seed + choice) % _SEEDS
    return SamplingParameters(**parameters)


def sequence_requests(
    request: GenerateRequest, tokenizer: Tokenizer, context_length: int, *, stream: bool = False
) -> list[SequenceRequest]:
    """One sequence for each of the request's `n` choices. Raises `ContextLengthExceeded`."""
    prompt_ids = encode_prompt(request.prompt, tokenizer, context_length)
    return [
        SequenceRequest(
            prompt_ids,
            sampling_parameters(request, choice=choice),
            request.max_new_tokens,
            stop=request.stop,
            logprobs=request.logprobs,
            stream=stream,
        )
        for choice in range(request.n)
    ]
