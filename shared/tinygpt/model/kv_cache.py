"""The keys and values of the tokens already read: what attention keeps for decoding."""

import torch
from torch import Tensor

from tinygpt.model.config import ModelConfig


class LayerCache:
    """One layer's keys and values, each (batch, heads, capacity, head_width), filled from the left.

    With convolutions, also the last inputs of both: `recent_projected` (batch, taps, 3 * width) of the one before
    attention, `recent_normed` (batch, taps, width) of the one before the MLP.
    """

    def __init__(self, batch: int, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> None:
        shape = (batch, config.heads, config.context_length, config.head_width)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        recent = (batch, config.convolution)
        self.recent_projected = torch.zeros((*recent, 3 * config.width), device=device, dtype=dtype)
        self.recent_normed = torch.zeros((*recent, config.width), device=device, dtype=dtype)
        self.length = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys and values, each (batch, heads, time, head_width). Returns views of all that are stored."""
        end = self.length + keys.size(2)
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]
