"""The reference decoder against the model itself, of every architecture."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.inference.decoders import CONFIG, random_model
from tinygpt.data.tokenizer import CODE, EOS, PROMPT
from tinygpt.inference.decoder import decode
from tinygpt.inference.sampling import SamplingParameters, generated_tokens, next_token
from tinygpt.inference.torch_decoder import TorchDecoder
from tinygpt.model.config import Architecture
from tinygpt.model.transformer import TinyGPT

PARAMETERS = [
    SamplingParameters(),
    SamplingParameters(temperature=0.8, seed=1),
    SamplingParameters(temperature=1.5, top_p=0.7, top_k=9, min_p=0.01, repetition_penalty=1.3, seed=2),
]
PROMPTS = [[PROMPT, CODE], [PROMPT, 10, 11, 12, CODE], [PROMPT, *range(5, 34), CODE]]


@torch.inference_mode()
def decoded_without_a_cache(model: TinyGPT, prompt_ids: list[int], parameters: SamplingParameters) -> list[int]:
    """The tokens if the whole sequence is read again for each."""
    allowed, record = generated_tokens(model.config.vocab_size), parameters.record()
    output: list[int] = []
    while len(prompt_ids) + len(output) < model.config.context_length:
        logits = model(torch.tensor([prompt_ids + output]))[0, -1].numpy()
        token, _ = next_token(logits, allowed, np.array(output, np.int32), record, len(output))
        if token == EOS:
            break
        output.append(token)
    return output


@pytest.mark.parametrize("architecture", ["transformer", "lstm", "mamba"])
@pytest.mark.parametrize("parameters", PARAMETERS, ids=["greedy", "sampled", "everything"])
@pytest.mark.parametrize("prompt_ids", PROMPTS, ids=len)
def test_the_cache_changes_no_token(
    architecture: Architecture, parameters: SamplingParameters, prompt_ids: list[int]
) -> None:
    model = random_model(ends=False, config=replace(CONFIG, architecture=architecture, ngrams=(2, 3)))

    cached = decode(TorchDecoder(model), prompt_ids, parameters, max_new_tokens=100)

    assert cached.ids == decoded_without_a_cache(model, prompt_ids, parameters)
    assert len(cached.ids) == CONFIG.context_length - len(prompt_ids)
