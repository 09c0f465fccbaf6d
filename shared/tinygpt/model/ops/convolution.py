"""The short causal convolution, alone and after a layer norm."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from tinygpt.compiled.jit import OBSTACLE
from tinygpt.model.ops.arrays import array_of, fp32_array_of, has_kernels, tensor_like

if not OBSTACLE:
    from tinygpt.model import training_kernels as kernels


def short_convolution(x: Tensor, taps: Tensor | None, recent: Tensor | None = None) -> Tensor:
    """y[t] = x[t] + sum over i of taps[i] * x[t - 1 - i], (B, T, C). What precedes the text is 0.

    taps is (K, C), None for no convolution. `recent` (B, K, C), if given, holds the inputs before x, and is updated.
    """
    if taps is None:
        return x
    count = taps.size(0)
    padded = F.pad(x, (0, 0, count, 0)) if recent is None else torch.cat((recent.to(x.dtype), x), dim=1)
    if recent is not None:
        recent.copy_(padded[:, -count:])
    y: Tensor = _AddTaps.apply(padded, taps)  # type: ignore[no-untyped-call]
    return y


class _AddTaps(torch.autograd.Function):
    """padded (B, K + T, C) and taps (K, C) to (B, T, C).

    The backward pass is written by hand. Automatic differentiation takes more than twice as long, because it makes a
    padded gradient for every slice and adds them up.
    """

    @staticmethod
    def forward(ctx: Any, padded: Tensor, taps: Tensor) -> Tensor:
        ctx.save_for_backward(padded, taps)
        count = len(taps)
        time = padded.size(1) - count
        y = padded[:, count:].clone()
        for i, tap in enumerate(taps.to(padded.dtype)):
            y.addcmul_(padded[:, count - 1 - i :][:, :time], tap)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (dy,) = gradients
        padded, taps = ctx.saved_tensors
        count, time = len(taps), dy.size(1)
        d_padded = F.pad(dy, (0, 0, count, 0))
        d_taps = torch.empty_like(taps)
        for i, tap in enumerate(taps.to(dy.dtype)):
            before = slice(count - 1 - i, count - 1 - i + time)
            d_padded[:, before].addcmul_(dy, tap)
            d_taps[i] = (dy * padded[:, before]).sum(dim=(0, 1))
        return d_padded, d_taps


# -- layer norm, then the convolution


def norm_convolution(
    x: Tensor, gain: Tensor, bias: Tensor, taps: Tensor | None, recent: Tensor | None = None
) -> Tensor:
    """Layer norm with gain and bias (C,), then `short_convolution`: (B, T, C) to (B, T, C)."""
    if taps is not None and recent is None and has_kernels(x.dtype, x.device, x.size(-1)):
        return compiled_norm_convolution(x, gain, bias, taps)
    return reference_norm_convolution(x, gain, bias, taps, recent)


def reference_norm_convolution(
    x: Tensor, gain: Tensor, bias: Tensor, taps: Tensor | None, recent: Tensor | None = None
) -> Tensor:
    """`norm_convolution` in torch."""
    return short_convolution(F.layer_norm(x, gain.shape, gain, bias), taps, recent)


def compiled_norm_convolution(x: Tensor, gain: Tensor, bias: Tensor, taps: Tensor) -> Tensor:
    """`norm_convolution` in one pass over memory. C is a multiple of 16."""
    y: Tensor = _NormConvolution.apply(x, gain, bias, taps)  # type: ignore[no-untyped-call]
    return y


class _NormConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, bias: Tensor, taps: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, gain, bias, taps)
        y = torch.empty_like(x)
        kernels.norm_convolution(
            array_of(x), fp32_array_of(gain), fp32_array_of(bias), fp32_array_of(taps), array_of(y)
        )
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, gain, bias, taps = ctx.saved_tensors
        dx = torch.empty_like(x)
        d_gain, d_bias, d_taps = (np.zeros(tensor.shape, np.float32) for tensor in (gain, bias, taps))
        kernels.norm_convolution_backward(
            array_of(gradients[0]), array_of(x), fp32_array_of(gain), fp32_array_of(bias), fp32_array_of(taps),
            array_of(dx), d_gain, d_bias, d_taps,
        )  # fmt: skip
        return dx, tensor_like(gain, d_gain), tensor_like(bias, d_bias), tensor_like(taps, d_taps)
