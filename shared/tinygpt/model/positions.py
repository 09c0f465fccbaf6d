"""Rotary positions (Su et al., "RoFormer", 2021).

A query and a key are rotated by angles that grow with their positions. Their product then depends on how far apart they
are, not on where they are.
"""

import torch
from torch import Tensor

_LONGEST_WAVELENGTH = 10_000.0


def rotary_table(context_length: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's angles, each (context_length, head_width). The first half of the sines is
    negated, as `rotate` needs it."""
    frequencies = _LONGEST_WAVELENGTH ** -(torch.arange(0, head_width, 2) / head_width)
    angles = torch.outer(torch.arange(context_length), frequencies)
    cosine, sine = angles.cos(), angles.sin()
    return torch.cat((cosine, cosine), dim=-1), torch.cat((-sine, sine), dim=-1)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate x (B, H, T, D) by its positions' angles, given by `rotary_table`: dimension i with dimension i + D / 2."""
    swapped = x.roll(x.size(-1) // 2, dims=-1)
    return torch.addcmul(x * cosine.to(x.dtype), swapped, sine.to(x.dtype))
