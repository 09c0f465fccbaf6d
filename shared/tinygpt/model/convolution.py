"""A short causal convolution: every position takes a little of the few before it, channel by channel.

One layer then sees the last characters side by side. With attention alone it takes a layer to bring them together
(H3: Fu et al., 2023; "canon layers": Allen-Zhu, "Physics of Language Models 4.1", 2025).
"""

import torch
from torch import Tensor, nn

from tinygpt.model import ops


class ShortConvolution(nn.Module):
    """y[t] = x[t] + sum over i of weight[i] * x[t - 1 - i], a weight per channel. What precedes the text is 0."""

    def __init__(self, taps: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(taps, channels))

    def forward(self, x: Tensor, recent: Tensor | None = None) -> Tensor:
        """x (B, T, C) to (B, T, C). `recent` (B, taps, C), if given, holds the inputs before x, and is updated."""
        return ops.short_convolution(x, self.weight, recent)
