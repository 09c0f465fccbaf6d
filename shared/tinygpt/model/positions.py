"""Rotary positions (Su et al., "RoFormer", 2021): a query and a key are turned by an angle that grows with their
position, so that their product depends on how far apart they are, not on where they stand."""

import torch
from torch import Tensor

_LONGEST_WAVELENGTH = 10_000.0


def rotary_table(context_length: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Cosine and signed sine of every position's angles, each (context_length, head_width)."""
    frequencies = _LONGEST_WAVELENGTH ** -(torch.arange(0, head_width, 2) / head_width)
    angles = torch.outer(torch.arange(context_length), frequencies)
    cosine, sine = angles.cos(), angles.sin()
    return torch.cat((cosine, cosine), dim=-1), torch.cat((-sine, sine), dim=-1)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn x (B, H, T, D) by its positions' angles, each (T, D): dimension i with dimension i + D / 2."""
    swapped = x.roll(x.size(-1) // 2, dims=-1)
    return torch.addcmul(x * cosine.to(x.dtype), swapped, sine.to(x.dtype))
