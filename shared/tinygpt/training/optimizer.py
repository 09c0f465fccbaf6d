"""The optimisers of a run: AdamW alone, or Muon for the matrices of the blocks and AdamW for the rest."""

from typing import Any

import torch
from torch import nn

from tinygpt.model.ngrams import NgramEmbedding
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.config import TrainConfig
from tinygpt.training.muon import Muon
from tinygpt.training.rowwise_adagrad import RowwiseAdagrad
from tinygpt.training.threads import ONE_THREAD, Threads

BETAS = (0.9, 0.95)
"""AdamW's, as in GPT-3 (Brown et al., 2020) and nanoGPT."""
GRADIENT_CLIP = 1.0
"""Largest norm of the gradient of all that AdamW learns, taken together."""
MUON_MOMENTUM = 0.9
"""docs/experiments.md has what other values gave."""


class Optimizers:
    """Up to four torch optimisers that step as one: AdamW, row-wise Adagrad for tables of n-grams, and Muon twice.

    They change fp32 originals of the weights ("master weights": Micikevicius et al., 2018). If the model computes in a
    shorter format, its weights are the originals, rounded after every step.
    """

    def __init__(self, model: TinyGPT, config: TrainConfig) -> None:
        self._weights = list(model.parameters())
        self._originals = [weight if weight.dtype == torch.float32 else _original(weight) for weight in self._weights]
        original = {id(weight): own for weight, own in zip(self._weights, self._originals, strict=True)}

        tables = [original[id(m.table.weight)] for m in model.modules() if isinstance(m, NgramEmbedding)]
        matrices = []
        if config.optimizer == "muon":
            matrices = [original[id(m.weight)] for m in model.blocks.modules() if isinstance(m, nn.Linear)]
        not_adamw = {id(parameter) for parameter in (*tables, *matrices)}
        self._learned_by_adamw = [own for own in self._originals if id(own) not in not_adamw]

        adamw = _adamw(self._learned_by_adamw, config)
        self._with_peaks: list[tuple[torch.optim.Optimizer, float]] = [(adamw, config.learning_rate)]
        """Each optimiser, and its peak learning rate."""
        if tables:
            adagrad = RowwiseAdagrad(tables, config.table_learning_rate)
            self._with_peaks.append((adagrad, config.table_learning_rate))
        # Two Muons, each with every other matrix, so that two threads may step at once.
        for half in (matrices[::2], matrices[1::2]):
            if half:
                muon = Muon(
                    half,
                    lr=config.muon_learning_rate,
                    momentum=MUON_MOMENTUM,
                    weight_decay=config.muon_weight_decay,
                    dtype=model.head.weight.dtype,
                )
                self._with_peaks.append((muon, config.muon_learning_rate))

    def step(self, learning_rate_scale: float, threads: Threads = ONE_THREAD) -> None:
        """One step of all optimisers, each at this share of its peak learning rate. Clears the gradients.

        AdamW's gradient is clipped first. Muon's is not, because its step does not depend on the gradient's length.
        """
        for weight, own in self._shorter_formats():
            assert weight.grad is not None
            own.grad, weight.grad = weight.grad.float(), None
        torch.nn.utils.clip_grad_norm_(self._learned_by_adamw, GRADIENT_CLIP)
        for optimizer, peak in self._with_peaks:
            for group in optimizer.param_groups:
                group["lr"] = peak * learning_rate_scale
        threads.map(_step, [optimizer for optimizer, _ in self._with_peaks])
        self._round()

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs besides the weights of the model."""
        pairs = zip(self._weights, self._originals, strict=True)
        return {
            "originals": [None if weight is own else own.detach() for weight, own in pairs],
            "parts": [optimizer.state_dict() for optimizer, _ in self._with_peaks],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state after the weights were loaded.

        It may come from a machine that computes in another format: a weight without an original is one itself.
        """
        with torch.no_grad():
            for weight, own, saved in zip(self._weights, self._originals, state["originals"], strict=True):
                own.copy_(weight if saved is None else saved)
        for (optimizer, _), part in zip(self._with_peaks, state["parts"], strict=True):
            optimizer.load_state_dict(part)
        self._round()

    def _shorter_formats(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        """Weights in a shorter format than fp32, each with its original."""
        return [pair for pair in zip(self._weights, self._originals, strict=True) if pair[0] is not pair[1]]

    @torch.no_grad()
    def _round(self) -> None:
        for weight, own in self._shorter_formats():
            weight.copy_(own)


def _step(optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _original(weight: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(weight.detach().float())


def _adamw(parameters: list[nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW, with weight decay on matrices only."""
    groups = [
        {"params": [p for p in parameters if p.dim() == 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() != 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=BETAS, fused=True)
