"""The steps of all optimisers together, against a plain reference in NumPy and float64.

The reference knows the published formulas and the values that the presets use; it shares no code with the optimisers.
"""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinygpt.model.config import SIZES, ModelConfig
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.config import Precision, TrainConfig
from tinygpt.training.optimizer import Optimizers
from tinygpt.training.precision import to_precision

Array = NDArray[np.float64]
SMALL: dict[str, Any] = {"vocab_size": 20, "context_length": 16, "width": 32, "layers": 2, "heads": 2}
MODELS = {
    "modern": replace(SIZES["tiny"], ngram_rows=12, **SMALL),
    "classic": ModelConfig(**SMALL),
    "untied": ModelConfig(tie_weights=False, **SMALL),
    "mamba": ModelConfig(architecture="mamba", **SMALL),
}
SCALES = (0.5, 1.0, 0.25)
LENGTHS = (20.0, 0.01, 20.0)
"""Of the steps' gradients: the second is shorter than the clip, the others longer."""

ADAMW_PEAK, BETAS, EPSILON, DECAY, CLIP = 1e-2, (0.9, 0.95), 1e-8, 0.1, 1.0
MUON_PEAK, MOMENTUM, MUON_DECAY = 0.014, 0.9, 0.01
TABLE_PEAK = 0.02
POLYNOMIALS = ((8.0934, -23.6204, 17.4462), (3.6366, -2.7219, 0.5365), (2.6613, -1.9772, 0.4526))


def model_of(config: ModelConfig) -> TinyGPT:
    torch.manual_seed(0)
    return TinyGPT(config)


def learned_by_muon(name: str, weight: Tensor) -> bool:
    """The weights of linear layers inside the blocks."""
    return name.startswith("blocks.") and weight.dim() == 2 and "convolution" not in name and "norm" not in name


def is_table(name: str) -> bool:
    return name.startswith("ngram_embedding.")


def gradients_of(model: TinyGPT, length: float, random: torch.Generator) -> dict[str, Tensor]:
    """Random gradients: the dense ones have `length` together; a table's touches two rows, one of them twice."""
    drawn = {name: torch.randn(weight.shape, generator=random) for name, weight in model.named_parameters()}
    for name, gradient in drawn.items():
        if is_table(name):
            values = gradient[:3]
            drawn[name] = torch.sparse_coo_tensor(
                torch.tensor([[3, 7, 3]]), values, gradient.shape, check_invariants=True
            )
    dense = torch.cat([g.flatten() for g in drawn.values() if not g.is_sparse])
    return {name: g if g.is_sparse else g * (length / dense.norm()) for name, g in drawn.items()}


class Reference:
    """What a step does to every weight, by the papers' formulas."""

    def __init__(self, model: TinyGPT, optimizer: str) -> None:
        self.weights = {n: np.array(w.detach().numpy(), np.float64) for n, w in model.named_parameters()}
        muon = {n for n, w in model.named_parameters() if optimizer == "muon" and learned_by_muon(n, w)}
        self.muon = muon
        self.adamw = {n for n in self.weights if n not in muon and not is_table(n)}
        self.first = {n: np.zeros_like(w) for n, w in self.weights.items()}
        self.second = {n: np.zeros_like(w) for n, w in self.weights.items()}
        self.sums = {n: np.zeros(len(w)) for n, w in self.weights.items() if is_table(n)}
        self.steps = 0

    def step(self, gradients: dict[str, Tensor], scale: float) -> None:
        self.steps += 1
        dense = {n: np.array(g.to_dense().numpy(), np.float64) for n, g in gradients.items()}
        length = np.sqrt(sum((dense[n] ** 2).sum() for n in self.adamw))
        for name in self.adamw:
            self._adamw(name, dense[name] * min(1.0, CLIP / length), ADAMW_PEAK * scale)
        for name in self.muon:
            self._muon(name, dense[name], MUON_PEAK * scale)
        for name in self.sums:
            self.sums[name] += (dense[name] ** 2).mean(axis=1)
            touched = self.sums[name] > 0
            root = np.sqrt(self.sums[name][touched])[:, None]
            self.weights[name][touched] -= TABLE_PEAK * scale * dense[name][touched] / root

    def _adamw(self, name: str, gradient: Array, rate: float) -> None:
        weight, (first, second) = self.weights[name], BETAS
        self.first[name] = first * self.first[name] + (1 - first) * gradient
        self.second[name] = second * self.second[name] + (1 - second) * gradient**2
        if weight.ndim == 2:
            weight *= 1 - rate * DECAY
        corrected = np.sqrt(self.second[name] / (1 - second**self.steps)) + EPSILON
        weight -= rate * self.first[name] / (1 - first**self.steps) / corrected

    def _muon(self, name: str, gradient: Array, rate: float) -> None:
        weight = self.weights[name]
        self.first[name] = MOMENTUM * self.first[name] + (1 - MOMENTUM) * gradient
        update = (1 - MOMENTUM) * gradient + MOMENTUM * self.first[name]  # Nesterov's
        weight *= 1 - rate * MUON_DECAY
        rows, columns = weight.shape
        parts = 3 if rows == 3 * columns else 1  # queries, keys and values
        for own, change in zip(np.split(weight, parts), np.split(update, parts), strict=True):
            own -= rate * max(1.0, rows / parts / columns) ** 0.5 * orthogonal(change)


def orthogonal(matrix: Array) -> Array:
    """The same singular vectors, singular values through Muon's polynomials."""
    u, values, v = np.linalg.svd(matrix, full_matrices=False)
    values = values / (1.01 * np.sqrt((matrix**2).sum()) + 1e-7)
    for a, b, c in POLYNOMIALS:
        values = a * values + b * values**3 + c * values**5
    result: Array = (u * values) @ v
    return result


def _named(name: str, message: str) -> str:
    return f"{name}: {message}"


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("network", MODELS)
def test_three_steps_are_those_of_the_formulas(network: str, optimizer: Any) -> None:
    model = model_of(MODELS[network])
    optimizers = Optimizers(model, TrainConfig(model=MODELS[network], optimizer=optimizer))
    reference = Reference(model, optimizer)
    random = torch.Generator().manual_seed(1)

    for length, scale in zip(LENGTHS, SCALES, strict=True):
        gradients = gradients_of(model, length, random)
        for name, weight in model.named_parameters():
            weight.grad = gradients[name].clone()
        optimizers.step(scale)
        reference.step(gradients, scale)
        for name, weight in model.named_parameters():
            expected = torch.from_numpy(reference.weights[name]).float()
            torch.testing.assert_close(weight.detach(), expected, rtol=2e-5, atol=2e-6, msg=partial(_named, name))
            assert weight.grad is None, name


def test_muon_learns_the_matrices_of_the_blocks_and_nothing_else() -> None:
    """The classification that the reference uses, spelled out once for the preset's network."""
    model = model_of(MODELS["modern"])

    by_muon = {name for name, weight in model.named_parameters() if learned_by_muon(name, weight)}

    blocks = ["blocks.0.attention.", "blocks.1.attention."]
    attention = {block + layer for block in blocks for layer in ("query_key_value.weight", "output.weight")}
    assert by_muon == attention | {"blocks.1.mlp.expand.weight", "blocks.1.mlp.output.weight"}


def test_a_step_of_scale_zero_changes_no_weight() -> None:
    model = model_of(MODELS["modern"])
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizers = Optimizers(model, TrainConfig(model=MODELS["modern"]))
    for name, gradient in gradients_of(model, 20.0, torch.Generator().manual_seed(1)).items():
        model.get_parameter(name).grad = gradient

    optimizers.step(0.0)

    for name, weight in model.named_parameters():
        assert torch.equal(weight.detach(), before[name]), name


def test_weights_in_bf16_are_fp32_originals_rounded_after_each_step() -> None:
    """Steps that are too small for bf16 add up in the originals."""
    plain, rounded = model_of(MODELS["modern"]), to_precision(model_of(MODELS["modern"]), "bf16")
    for own, other in zip(plain.parameters(), rounded.parameters(), strict=True):
        own.data = other.data.float()
    config = TrainConfig(model=MODELS["modern"], optimizer="adamw")
    of_plain, of_rounded = Optimizers(plain, config), Optimizers(rounded, config)
    random = torch.Generator().manual_seed(1)

    for _ in range(8):
        for name, gradient in gradients_of(plain, 20.0, random).items():
            short = gradient if gradient.is_sparse else gradient.bfloat16()
            plain.get_parameter(name).grad = gradient.clone() if gradient.is_sparse else short.float()
            rounded.get_parameter(name).grad = short.clone()
        of_plain.step(0.01)
        of_rounded.step(0.01)

    for own, other in zip(plain.parameters(), rounded.parameters(), strict=True):
        torch.testing.assert_close(own.detach().to(other.dtype), other.detach(), rtol=0, atol=0)
        assert other.grad is None


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_saved_state_takes_the_next_step_as_if_nothing_had_happened(precision: Precision) -> None:
    config = TrainConfig(model=MODELS["modern"])
    models = [to_precision(model_of(MODELS["modern"]), precision) for _ in range(2)]
    first, second = (Optimizers(model, config) for model in models)
    random = torch.Generator().manual_seed(1)

    def step(optimizers: Optimizers, model: TinyGPT, gradients: dict[str, Tensor]) -> None:
        for name, gradient in gradients.items():
            weight = model.get_parameter(name)
            weight.grad = gradient.clone() if gradient.is_sparse else gradient.to(weight.dtype, copy=True)
        optimizers.step(0.5)

    step(first, models[0], gradients_of(models[0], 20.0, random))
    models[1].load_state_dict(models[0].state_dict())
    second.load_state_dict(deepcopy(first.state_dict()))
    for _ in range(2):
        gradients = gradients_of(models[0], 20.0, random)
        step(first, models[0], gradients)
        step(second, models[1], gradients)

    for own, other in zip(first.state_dict()["originals"], second.state_dict()["originals"], strict=True):
        assert own is None or torch.equal(own, other)
    for name, weight in models[0].named_parameters():
        assert torch.equal(weight, models[1].get_parameter(name)), name
