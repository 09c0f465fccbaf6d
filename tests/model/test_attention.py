"""Attention: torch's and the reference agree, and neither sees what is to come."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tinygpt.model import ops
from tinygpt.model.attention import CausalSelfAttention
from tinygpt.model.config import ModelConfig
from tinygpt.model.ops.attention import reference_attention
from tinygpt.model.transformer import TinyGPT

CONFIG = ModelConfig(vocab_size=20, context_length=12, layers=2, heads=2, width=8, dropout=0.0)


def causal(time: int) -> Tensor:
    return torch.tril(torch.ones(time, time, dtype=torch.bool))


def test_the_first_position_attends_to_itself_alone_and_the_next_weighs_both() -> None:
    q = torch.tensor([[1.0, 0.0], [2.0, 0.0]]).view(1, 1, 2, 2) / 2**0.5
    k = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 1, 2, 2)
    v = torch.tensor([[10.0, 0.0], [0.0, 10.0]]).view(1, 1, 2, 2)

    y = reference_attention(q, k, v, causal(2))[0, 0]

    weight = float(torch.sigmoid(torch.tensor(2 / 2**0.5)))  # softmax of two scores, 2 / sqrt(D) and 0
    torch.testing.assert_close(y, torch.tensor([[10.0, 0.0], [10 * weight, 10 * (1 - weight)]]))


def queries_keys_values(new: int, past: int = 0, heads: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random ones of `new` positions after `past` cached ones, which need gradients, and their mask."""
    random = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(3, heads, time, 8, generator=random) for time in (new, past + new, past + new))
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), causal(past + new)[past:]


@pytest.mark.parametrize("new", [1, 2, 7, 12])
@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("past", [0, 1, 5])
def test_torchs_attention_equals_the_reference(new: int, heads: int, past: int) -> None:
    q, k, v, mask = queries_keys_values(new, past, heads)

    y, expected = ops.causal_attention(q, k, v, mask), reference_attention(q, k, v, mask)

    torch.testing.assert_close(y, expected, atol=1e-6, rtol=1e-5)
    direction = torch.randn_like(y)
    gradients, of_reference = (torch.autograd.grad(out, (q, k, v), direction) for out in (y, expected))
    torch.testing.assert_close(gradients, of_reference, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("new", [7, 16])
@pytest.mark.parametrize("past", [0, 5])
def test_attention_in_bf16_that_needs_gradients_equals_the_reference(new: int, past: int) -> None:
    q, k, v, mask = queries_keys_values(new, past)
    half = [tensor.detach().bfloat16().requires_grad_() for tensor in (q, k, v)]

    y = ops.causal_attention(half[0], half[1], half[2], mask)

    torch.testing.assert_close(y.float(), reference_attention(q, k, v, mask), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("attend", [ops.causal_attention, reference_attention])
def test_changing_a_later_token_never_changes_earlier_logits(
    attend: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = TinyGPT(CONFIG).eval()
    monkeypatch.setattr(ops, "causal_attention", attend)
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
    layer = CausalSelfAttention(CONFIG)

    assert torch.equal(layer.state_dict()["causal_mask"], causal(CONFIG.context_length))
    assert "causal_mask" in dict(layer.named_buffers())
    assert "causal_mask" not in dict(layer.named_parameters())
