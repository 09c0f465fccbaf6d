"""The chapter's generation agrees with the one that serves: the same distributions, the same greedy text."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tinygpt.classic.generate import NEVER_GENERATED, generate, next_token_probabilities
from tinygpt.classic.gpt import GPT
from tinygpt.data.tokenizer import EOS, CharacterTokenizer
from tinygpt.inference import sampling
from tinygpt.inference.decoder import decode
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.inference.torch_decoder import TorchDecoder
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT

CONFIG = ModelConfig()
TOKENIZER = CharacterTokenizer.from_corpus(())
PROMPTS = ("is n even", "reverse the list nums", "x")
SHORT_CONTEXT = 40


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("repetition_penalty", [1.0, 1.3, 3.0])
def test_probabilities_are_those_of_sampling(temperature: float, top_p: float, repetition_penalty: float) -> None:
    random = torch.Generator().manual_seed(0)
    parameters = SamplingParameters(temperature=temperature, top_p=top_p, repetition_penalty=repetition_penalty)
    allowed = sampling.generated_tokens(CONFIG.vocab_size)
    for _ in range(20):
        logits = 2 * torch.randn(CONFIG.vocab_size, generator=random)
        recent = torch.randint(CONFIG.vocab_size, (64,), generator=random).tolist()
        recent += [int(logits.argmax())] * 3

        probabilities = next_token_probabilities(logits, recent, temperature, top_p, repetition_penalty)

        expected = sampling.next_token_probabilities(
            logits.numpy(), allowed, np.array(recent, np.int32), parameters.record()
        )
        assert np.array_equal(probabilities.numpy() > 0, expected > 0)
        assert np.allclose(probabilities.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("repetition_penalty", [1.0, 1.5])
def test_greedy_text_is_that_of_the_decoder(prompt: str, repetition_penalty: float) -> None:
    ours, theirs = pair(CONFIG)
    parameters = SamplingParameters(repetition_penalty=repetition_penalty)

    text = generate(ours, TOKENIZER, prompt, max_new_tokens=50, repetition_penalty=repetition_penalty)

    written = decode(TorchDecoder(theirs), TOKENIZER.encode_prompt(prompt), parameters, max_new_tokens=50)
    assert text == TOKENIZER.decode(written.ids)
    assert len(set(text)) > 3


def test_an_answer_ends_with_eos() -> None:
    model, _ = pair(replace(CONFIG, context_length=SHORT_CONTEXT), likes_to_end=40.0)
    torch.manual_seed(0)

    answers = [generate(model, TOKENIZER, "x", temperature=1.0) for _ in range(12)]

    assert len({len(answer) for answer in answers}) > 3


def test_an_answer_ends_after_the_tokens_it_may_have() -> None:
    model, _ = pair(replace(CONFIG, context_length=SHORT_CONTEXT), likes_to_end=-1000.0)

    text = generate(model, TOKENIZER, "x", max_new_tokens=7)

    assert len(text) == 7
    assert generate(model, TOKENIZER, "x").startswith(text)


@pytest.mark.parametrize("room", [2, 1, 0, -1])
def test_an_answer_ends_when_the_context_is_full(room: int) -> None:
    model, _ = pair(replace(CONFIG, context_length=SHORT_CONTEXT), likes_to_end=-1000.0)

    answer = generate(model, TOKENIZER, "x" * (SHORT_CONTEXT - 2 - room))

    assert len(answer) == max(0, room)


def test_control_tokens_are_never_drawn() -> None:
    logits = torch.zeros(CONFIG.vocab_size)
    logits[NEVER_GENERATED] = 100.0

    assert next_token_probabilities(logits, [], 1.0, 1.0, 1.0)[NEVER_GENERATED].sum() == 0


def pair(config: ModelConfig, *, likes_to_end: float = 0.0) -> tuple[GPT, TinyGPT]:
    """Both networks with the same random weights in float64."""
    torch.manual_seed(3)
    theirs = TinyGPT(config).double().eval()
    with torch.no_grad():
        for weight in theirs.blocks.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
        theirs.final_norm.bias.copy_(likes_to_end * theirs.head.weight[EOS])
    ours = GPT(config.vocab_size, config.context_length).double()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs
