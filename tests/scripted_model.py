"""A real model whose weights are set by hand, so that what it writes is known beforehand."""

import torch

from tinygpt.data.tokenizer import EOS, CharacterTokenizer
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT


def scripted_model(
    answer: str, *, prompt: str, context_length: int = 128, ends: bool = True
) -> tuple[TinyGPT, CharacterTokenizer]:
    """A model that greedily continues `prompt` with `answer` and `<EOS>`; with `ends` off, with `answer` over and over.

    Its blocks add nothing, every position's embedding is an axis of its own, and the head maps each axis to the token
    that is due there.
    """
    tokenizer = CharacterTokenizer.from_corpus([answer, prompt])
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        context_length=context_length,
        layers=1,
        heads=1,
        width=context_length,
        dropout=0.0,
        tie_weights=False,
    )
    model = TinyGPT(config).eval()
    due = [*tokenizer.encode(answer), EOS] if ends else tokenizer.encode(answer)
    first = len(tokenizer.encode_prompt(prompt)) - 1
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.final_norm.weight.fill_(1.0)
        model.position_embedding.weight.copy_(torch.eye(context_length))
        for i, position in enumerate(range(first, context_length)):
            token = EOS if ends and i >= len(due) else due[i % len(due)]
            model.head.weight[token, position] = 1.0
    return model, tokenizer
