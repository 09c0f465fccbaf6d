"""The optimisers: AdamW alone, or Muon for the matrices of the blocks and AdamW for the rest."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from tinygpt.model.transformer import TinyGPT
from tinygpt.training.config import TrainConfig

_MUON_WEIGHT_DECAY = 0.01


class Optimizers:
    """One or two torch optimisers that step as one."""

    def __init__(self, model: TinyGPT, config: TrainConfig) -> None:
        block_matrices = [parameter for parameter in model.blocks.parameters() if parameter.dim() == 2]
        if config.optimizer == "muon":
            self._parts: list[tuple[torch.optim.Optimizer, float]] = [
                (_muon(block_matrices, config), config.muon_learning_rate),
                (_adamw(model, config, without=block_matrices), config.learning_rate),
            ]
        else:
            self._parts = [(_adamw(model, config, without=[]), config.learning_rate)]

    def step(self, learning_rate_scale: float) -> None:
        """One step, with every part at this share of its peak learning rate. Clears the gradients."""
        for optimizer, peak in self._parts:
            for group in optimizer.param_groups:
                group["lr"] = peak * learning_rate_scale
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        return [optimizer.state_dict() for optimizer, _ in self._parts]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        for (optimizer, _), part in zip(self._parts, state, strict=True):
            optimizer.load_state_dict(part)


def _adamw(model: TinyGPT, config: TrainConfig, *, without: list[nn.Parameter]) -> torch.optim.AdamW:
    """AdamW, with weight decay on matrices only."""
    left_out = {id(parameter) for parameter in without}
    parameters = [parameter for parameter in model.parameters() if id(parameter) not in left_out]
    groups = [
        {"params": list(_with(parameters, matrices=True)), "weight_decay": config.weight_decay},
        {"params": list(_with(parameters, matrices=False)), "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def _muon(matrices: list[nn.Parameter], config: TrainConfig) -> torch.optim.Muon:
    return torch.optim.Muon(matrices, lr=config.muon_learning_rate, weight_decay=_MUON_WEIGHT_DECAY, momentum=0.95)


def _with(parameters: list[nn.Parameter], *, matrices: bool) -> Iterator[nn.Parameter]:
    return (parameter for parameter in parameters if (parameter.dim() >= 2) is matrices)
