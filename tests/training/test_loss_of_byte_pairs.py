"""Losses of tokens that stand for several characters, or for less than one, against sums in float64."""

import pytest
import torch
from torch import Tensor

from tinygpt.data.examples import Example, encode_examples
from tinygpt.data.rows import Row
from tinygpt.data.tokenizer import EOS, Tokenizer, TokenizerKind
from tinygpt.data.tokenizer_kinds import make_tokenizer
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.loss import bits_per_character, validation_loss

ROWS = [Row(f"{i} {word}", f"{word} = {i} * 'ü'") for i, word in enumerate(["apple", "pear", "plum", "apple pie"] * 9)]
CONTEXT = 64


def prepared(kind: TokenizerKind) -> tuple[TinyGPT, Tokenizer, list[Example]]:
    tokenizer = make_tokenizer(kind, [text for row in ROWS for text in (row.prompt, row.code)])
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, context_length=CONTEXT, layers=1, heads=2, width=16, dropout=0.0
    )
    return TinyGPT(config), tokenizer, encode_examples(ROWS, tokenizer, CONTEXT)


@torch.no_grad()
def nats_of_code(model: TinyGPT, tokenizer: Tokenizer, row: Row) -> float:
    """Of all the tokens of the row's code and the `<EOS>` after it, each predicted from those before it."""
    prompt = tokenizer.encode_prompt(row.prompt)
    code = [*tokenizer.encode(row.code), EOS]
    logits: Tensor = model.eval()(torch.tensor([[*prompt, *code[:-1]]]))
    logprobs = logits[0].double().log_softmax(dim=-1)
    return -sum(logprobs[len(prompt) - 1 + i, token].item() for i, token in enumerate(code))


@pytest.mark.parametrize("kind", ["characters", "byte_pair"])
def test_the_validation_loss_is_per_character_of_code_whatever_the_tokens(kind: TokenizerKind) -> None:
    model, tokenizer, examples = prepared(kind)
    assert len(examples) == len(ROWS)

    nats = sum(nats_of_code(model, tokenizer, row) for row in ROWS)
    characters = sum(len(row.code) + 1 for row in ROWS)
    tokens = sum(len(tokenizer.encode(row.code)) + 1 for row in ROWS)

    assert (tokens == characters) is (kind == "characters")
    assert validation_loss(model, examples) == pytest.approx(nats / characters, rel=1e-5)


def test_bits_are_nats_by_the_logarithm_of_two() -> None:
    assert bits_per_character(0.0) == 0.0
    assert bits_per_character(1.0) == pytest.approx(1.4426950408889634)


def test_examples_know_the_characters_of_their_code() -> None:
    for kind in ("characters", "byte_pair"):
        _, _, examples = prepared(kind)
        assert [example.code_characters for example in examples] == [len(row.code) + 1 for row in ROWS]
