"""Rotary positions (Su et al., "RoFormer", 2021): a query and a key are turned by an angle that grows with their
position, so that their product depends on how far apart they are, not on where they stand."""

import torch
from torch import Tensor

_LONGEST_WAVELENGTH = 10_000.0


def rotary_table(context_length: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's angles, each (context_length, head_width / 2)."""
    frequencies = _LONGEST_WAVELENGTH ** -(torch.arange(0, head_width, 2) / head_width)
    angles = torch.outer(torch.arange(context_length), frequencies)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn x (B, H, T, D) by its positions' angles, each (T, D / 2): the first half of D with the second."""
    first, second = x.chunk(2, dim=-1)
    cosine, sine = cosine.to(x.dtype), sine.to(x.dtype)
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), dim=-1)
