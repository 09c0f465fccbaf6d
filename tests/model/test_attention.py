"""Attention: the readable way, the fast way, and what neither may see."""

import pytest
import torch
from torch import Tensor

from tinygpt.model.attention import CausalSelfAttention, plain_attention
from tinygpt.model.config import ModelConfig
from tinygpt.model.kv_cache import LayerCache
from tinygpt.model.transformer import TinyGPT

CONFIG = ModelConfig(vocab_size=20, context_length=12, layers=2, heads=2, width=8, dropout=0.0)


def attention(config: ModelConfig = CONFIG, seed: int = 0) -> CausalSelfAttention:
    torch.manual_seed(seed)
    return CausalSelfAttention(config).eval()


def causal(time: int) -> Tensor:
    return torch.tril(torch.ones(time, time, dtype=torch.bool))


def test_the_first_position_attends_to_itself_alone_and_the_next_weighs_both() -> None:
    q = torch.tensor([[1.0, 0.0], [2.0, 0.0]]).view(1, 1, 2, 2) / 2**0.5
    k = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 1, 2, 2)
    v = torch.tensor([[10.0, 0.0], [0.0, 10.0]]).view(1, 1, 2, 2)

    y = plain_attention(q, k, v, causal(2))[0, 0]

    weight = float(torch.sigmoid(torch.tensor(2 / 2**0.5)))  # softmax of two scores, 2 / sqrt(D) and 0
    torch.testing.assert_close(y, torch.tensor([[10.0, 0.0], [10 * weight, 10 * (1 - weight)]]))


@pytest.mark.parametrize("time", [1, 2, 7, 12])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_the_plain_path_equals_the_fused_one(time: int, heads: int) -> None:
    layer = attention(ModelConfig(vocab_size=20, context_length=12, layers=1, heads=heads, width=8))
    x = torch.randn(3, time, 8)

    fused = layer(x)
    layer.fused = False
    plain = layer(x)

    torch.testing.assert_close(plain, fused, atol=1e-6, rtol=1e-5)


def test_the_two_paths_have_the_same_gradients() -> None:
    gradients = []
    for fused in (True, False):
        layer = attention()
        layer.fused = fused
        x = torch.randn(2, 9, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
        layer(x).square().sum().backward()
        gradients.append([x.grad, *(parameter.grad for parameter in layer.parameters())])

    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("past", [1, 5])
@pytest.mark.parametrize("new", [1, 4])
def test_the_two_paths_are_equal_with_a_cache(past: int, new: int) -> None:
    x = torch.randn(2, past + new, 8, generator=torch.Generator().manual_seed(1))
    results = []
    for fused in (True, False):
        layer = attention()
        layer.fused = fused
        cache = LayerCache(2, CONFIG, x.device, x.dtype)
        layer(x[:, :past], cache)
        results.append(layer(x[:, past:], cache))

    torch.testing.assert_close(results[0], results[1], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
def test_changing_a_later_token_never_changes_earlier_logits(fused: bool) -> None:
    torch.manual_seed(0)
    model = TinyGPT(CONFIG).eval()
    for module in model.modules():
        if isinstance(module, CausalSelfAttention):
            module.fused = fused
    ids = torch.randint(0, 20, (1, 12))
    logits = model(ids)

    for position in range(1, 12):
        changed = ids.clone()
        changed[0, position] = (changed[0, position] + 1) % 20
        new = model(changed)

        assert torch.equal(new[:, :position], logits[:, :position])
        assert not torch.allclose(new[:, position], logits[:, position])


def test_an_earlier_token_changes_every_later_logit() -> None:
    torch.manual_seed(0)
    model = TinyGPT(CONFIG).eval()
    ids = torch.randint(0, 20, (1, 12))
    changed = ids.clone()
    changed[0, 0] = (ids[0, 0] + 1) % 20

    differs = (model(ids) != model(changed)).any(dim=-1)

    assert bool(differs.all())


def test_the_causal_mask_is_a_buffer_in_the_state_dict() -> None:
    layer = attention()

    assert torch.equal(layer.state_dict()["causal_mask"], causal(CONFIG.context_length))
    assert "causal_mask" in dict(layer.named_buffers())
    assert "causal_mask" not in dict(layer.named_parameters())


@pytest.mark.parametrize("fused", [True, False])
def test_attention_dropout_acts_in_training_only(fused: bool) -> None:
    layer = attention(ModelConfig(vocab_size=20, context_length=12, layers=1, heads=2, width=8, attention_dropout=0.5))
    layer.fused = fused
    x = torch.randn(1, 12, 8)

    assert torch.equal(layer(x), layer(x))
    layer.train()
    assert not torch.equal(layer(x), layer(x))
