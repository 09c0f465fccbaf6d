"""The network: shapes, initialisation, tied weights, dropout, and what its configuration refuses."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from tinygpt.model.config import SIZES, ModelConfig
from tinygpt.model.transformer import TinyGPT

CONFIG = ModelConfig(vocab_size=30, context_length=16, layers=2, heads=2, width=8, dropout=0.0)


def model(config: ModelConfig = CONFIG) -> TinyGPT:
    torch.manual_seed(0)
    return TinyGPT(config).eval()


def test_ids_become_logits_over_the_vocabulary_at_every_position() -> None:
    assert model()(torch.zeros(3, 7, dtype=torch.long)).shape == (3, 7, 30)


def test_logits_are_the_head_of_the_features() -> None:
    gpt, ids = model(), torch.arange(10).view(1, 10)

    assert torch.equal(gpt.head(gpt.features(ids)), gpt(ids))


def test_a_whole_context_is_read_and_one_token_more_is_refused() -> None:
    gpt = model()
    gpt(torch.zeros(1, 16, dtype=torch.long))

    with pytest.raises(ValueError, match="17 tokens are more than the context of 16"):
        gpt(torch.zeros(1, 17, dtype=torch.long))


def test_an_untrained_model_is_undecided() -> None:
    gpt = model(replace(CONFIG, width=64, vocab_size=100))
    ids = torch.randint(0, 100, (8, 16))

    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(gpt(ids).flatten(0, 1), torch.randint(0, 100, (8 * 16,)))

    assert loss.item() == pytest.approx(math.log(100), rel=0.03)


def test_padding_on_the_right_changes_nothing_before_it() -> None:
    gpt, ids = model(), torch.arange(5, 11).view(1, 6)
    padded = torch.cat([ids, torch.zeros(1, 4, dtype=torch.long)], dim=1)

    torch.testing.assert_close(gpt(padded)[:, :6], gpt(ids), atol=1e-6, rtol=1e-5)


def test_positions_are_told_apart() -> None:
    logits = model()(torch.full((1, 4), 7))

    assert not torch.allclose(logits[0, 0], logits[0, 3])


def test_tied_weights_are_one_and_counted_once() -> None:
    tied, untied = model(), model(replace(CONFIG, tie_weights=False))

    assert tied.head.weight is tied.token_embedding.weight
    assert untied.head.weight is not untied.token_embedding.weight
    assert untied.parameter_count - tied.parameter_count == 30 * 8


def test_blocks_add_to_the_stream_and_a_block_that_adds_nothing_lets_it_pass() -> None:
    gpt, ids = model(), torch.arange(10).view(1, 10)
    with torch.no_grad():
        for name, parameter in gpt.blocks.named_parameters():
            if ".output." in name:
                parameter.zero_()

    stream = gpt.token_embedding(ids) + gpt.position_embedding(torch.arange(10))
    torch.testing.assert_close(gpt.features(ids), gpt.final_norm(stream))


def test_the_last_block_alone_may_have_an_mlp() -> None:
    gpt = model(replace(CONFIG, layers=3, mlps="last"))

    assert ["mlp" in dict(block.named_children()) for block in gpt.blocks] == [False, False, True]
    assert model(replace(CONFIG, layers=3)).parameter_count - gpt.parameter_count == 2 * (8 * 8 * 8 + 5 * 8 + 2 * 8)


def test_what_writes_to_the_stream_starts_smaller() -> None:
    gpt = model(replace(CONFIG, width=64, layers=8))
    usual = gpt.blocks.get_submodule("0.mlp.expand").get_parameter("weight").std()
    for name in ("0.mlp.output", "0.attention.output"):
        writing = gpt.blocks.get_submodule(name).get_parameter("weight").std()

        assert (writing / usual).item() == pytest.approx(1 / math.sqrt(2 * 8), rel=0.15)


def test_dropout_acts_in_training_only() -> None:
    gpt, ids = model(replace(CONFIG, dropout=0.5)), torch.arange(8).view(1, 8)

    assert torch.equal(gpt(ids), gpt(ids))
    gpt.train()
    assert not torch.equal(gpt(ids), gpt(ids))


def test_every_parameter_learns() -> None:
    gpt = model(replace(CONFIG, tie_weights=False))
    gpt(torch.arange(16).view(1, 16)).square().sum().backward()

    assert [name for name, parameter in gpt.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"vocab_size": 0}, "vocab_size"),
        ({"context_length": 0}, "context_length"),
        ({"layers": 0}, "layers"),
        ({"heads": 0}, "heads"),
        ({"width": -8}, "width"),
        ({"width": 10, "heads": 4}, "not a multiple"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"mlps": "first"}, "every or last"),
    ],
)
def test_sizes_that_make_no_network_are_refused(sizes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ModelConfig(**sizes)


def test_the_presets_are_those_of_the_issue() -> None:
    assert (SIZES["tiny"].layers, SIZES["tiny"].width) == (2, 128)
    assert (SIZES["small"].layers, SIZES["small"].width) == (4, 256)
    assert SIZES["tiny"].mlp_width == 4 * 128
