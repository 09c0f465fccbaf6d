"""The chapter's network is `TinyGPT(ModelConfig())`: the same weights, logits and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tinygpt.classic.gpt import GPT
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT

CONFIG = ModelConfig()
TOLERANCE = 1e-6
"""In float64, but the model's 1 / sqrt(D) is a float32 number."""


def test_defaults_are_those_of_the_model() -> None:
    ours, theirs = GPT(CONFIG.vocab_size), TinyGPT(CONFIG)

    shapes = {name: weight.shape for name, weight in ours.state_dict().items()}

    assert shapes == {name: weight.shape for name, weight in theirs.state_dict().items()}
    assert ours.dropout.p == CONFIG.dropout
    assert ours.head.weight is ours.token_embedding.weight


def test_weights_start_as_the_model_s_do() -> None:
    torch.manual_seed(0)
    ours, theirs = GPT(CONFIG.vocab_size), dict(TinyGPT(CONFIG).named_parameters())

    for name, weight in ours.named_parameters():
        assert weight.mean().item() == pytest.approx(theirs[name].mean().item(), abs=0.002), name
        assert weight.std().item() == pytest.approx(theirs[name].std().item(), rel=0.1), name


@pytest.mark.parametrize("time", [1, 7, CONFIG.context_length])
def test_logits_are_equal(time: int) -> None:
    ours, theirs = pair()
    ids = random_ids(time)

    assert torch.allclose(ours(ids), theirs(ids), rtol=0, atol=TOLERANCE)


def test_gradients_are_equal() -> None:
    ours, theirs = pair()
    ids, labels = random_ids(40), random_ids(40)

    for model in (ours, theirs):
        F.cross_entropy(model(ids).flatten(0, 1), labels.flatten()).backward()  # type: ignore[no-untyped-call]

    expected = dict(theirs.named_parameters())
    for name, weight in ours.named_parameters():
        gradient = expected[name].grad
        assert weight.grad is not None
        assert gradient is not None
        assert torch.allclose(weight.grad, gradient, rtol=0, atol=TOLERANCE), name


def test_dropout_falls_on_the_same_places() -> None:
    ours, theirs = pair()
    ids = random_ids(16)
    ours.train()
    theirs.train()

    torch.manual_seed(1)
    logits = ours(ids)
    torch.manual_seed(1)

    assert torch.allclose(logits, theirs(ids), rtol=0, atol=TOLERANCE)
    assert not torch.allclose(logits, ours.eval()(ids))


def test_weights_load_the_other_way_too() -> None:
    ours, theirs = GPT(CONFIG.vocab_size).eval(), TinyGPT(CONFIG).eval()
    theirs.load_state_dict(ours.state_dict())
    ids = random_ids(12)

    assert torch.allclose(ours(ids), theirs(ids), atol=1e-5)


def test_a_longer_row_than_the_context_is_an_error() -> None:
    model = GPT(CONFIG.vocab_size)

    with pytest.raises(IndexError):
        model(random_ids(CONFIG.context_length + 1))


def pair() -> tuple[GPT, TinyGPT]:
    """Both networks with the same weights in float64, far enough from their start that every part matters."""
    torch.manual_seed(0)
    theirs = TinyGPT(CONFIG).double().eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    ours = GPT(CONFIG.vocab_size).double().eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def random_ids(time: int) -> Tensor:
    return torch.randint(CONFIG.vocab_size, (3, time))
