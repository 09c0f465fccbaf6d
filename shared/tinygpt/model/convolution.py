"""A short causal convolution: every position takes a little of the few before it, channel by channel.

One layer then sees the last characters side by side, where attention alone needs a layer to bring them together
(H3: Fu et al., 2023; "canon layers": Allen-Zhu, "Physics of Language Models 4.1", 2025).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ShortConvolution(nn.Module):
    """y[t] = x[t] + sum over i of weight[i] * x[t - 1 - i], a weight per channel; what precedes the text is 0."""

    def __init__(self, taps: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(taps, channels))

    def forward(self, x: Tensor, recent: Tensor | None = None) -> Tensor:
        """x (B, T, C) to (B, T, C). `recent` (B, taps, C) is what came before; it is brought up to date."""
        taps = self.weight.size(0)
        padded = F.pad(x, (0, 0, taps, 0)) if recent is None else torch.cat((recent.to(x.dtype), x), dim=1)
        if recent is not None:
            recent.copy_(padded[:, -taps:])
        y: Tensor = _AddTaps.apply(padded, self.weight)  # type: ignore[no-untyped-call]
        return y


class _AddTaps(torch.autograd.Function):
    """padded (B, taps + T, C) and weight (taps, C) to (B, T, C).

    The backward pass is written out: automatic differentiation takes more than twice as long, for it makes a padded
    gradient of every slice and adds them up.
    """

    @staticmethod
    def forward(ctx: Any, padded: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(padded, weight)
        taps = len(weight)
        time = padded.size(1) - taps
        y = padded[:, taps:].clone()
        for i, factor in enumerate(weight.to(padded.dtype)):
            y.addcmul_(padded[:, taps - 1 - i :][:, :time], factor)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,) = gradients
        padded, weight = ctx.saved_tensors
        taps, time = len(weight), gradient.size(1)
        for_padded = F.pad(gradient, (0, 0, taps, 0))
        for_weight = torch.empty_like(weight)
        for i, factor in enumerate(weight.to(gradient.dtype)):
            before = slice(taps - 1 - i, taps - 1 - i + time)
            for_padded[:, before].addcmul_(gradient, factor)
            for_weight[i] = (gradient * padded[:, before]).sum(dim=(0, 1))
        return for_padded, for_weight
