"""The kernels of `kernels.py` as differentiable functions, for bf16 tensors on a CPU.

Each says what it equals in torch's own functions, which the model uses wherever these can't be: with a cache, in
fp32, on a GPU. Shapes: B batch, T time, C width, H heads, D = C / H.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinygpt.compiled.jit import can_compile
from tinygpt.model import kernels


def can_fuse(x: Tensor) -> bool:
    """Whether the functions of this module take `x`."""
    return x.dtype == torch.bfloat16 and x.device.type == "cpu" and can_compile()


def _bits(tensor: Tensor) -> NDArray[np.uint16]:
    """The numbers' memory, as `kernels.py` takes it: a contiguous tensor's own."""
    array: NDArray[np.uint16] = tensor.detach().contiguous().view(torch.uint16).numpy()
    return array


def _fp32(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().float().numpy()
    return array


def _like(number: NDArray[np.float32], tensor: Tensor) -> Tensor:
    return torch.from_numpy(number).to(tensor.dtype).view_as(tensor)


class _NormConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, offset: Tensor, taps: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, gain, offset, taps)
        y = torch.empty_like(x)
        kernels.norm_convolution(_bits(x), _fp32(gain), _fp32(offset), _fp32(taps), _bits(y))
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, gain, offset, taps = ctx.saved_tensors
        dx = torch.empty_like(x)
        d_gain, d_offset, d_taps = (np.zeros(tensor.shape, np.float32) for tensor in (gain, offset, taps))
        kernels.norm_convolution_backward(
            _bits(gradients[0]), _bits(x), _fp32(gain), _fp32(offset), _fp32(taps), _bits(dx), d_gain, d_offset, d_taps
        )
        return dx, _like(d_gain, gain), _like(d_offset, offset), _like(d_taps, taps)


def norm_convolution(x: Tensor, gain: Tensor, offset: Tensor, taps: Tensor) -> Tensor:
    """Layer norm and then a `ShortConvolution`, (B, T, C) to (B, T, C). `taps` (K, C) may be none: (0, C)."""
    y: Tensor = _NormConvolution.apply(x, gain, offset, taps)  # type: ignore[no-untyped-call]
    return y


class _Heads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, taps: Tensor, scale: Tensor, cosine: Tensor, sine: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(projected, taps, scale, cosine, sine)
        batch, time, channels = projected.shape
        number = scale.numel()
        q, k, v = torch.empty(3, batch, number, time, channels // (3 * number), dtype=projected.dtype)
        kernels.heads(
            _bits(projected),
            _fp32(taps),
            _fp32(cosine),
            _fp32(sine),
            _fp32(scale).reshape(-1),
            _bits(q),
            _bits(k),
            _bits(v),
        )
        return q, k, v

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        projected, taps, scale, cosine, sine = ctx.saved_tensors
        d_projected = torch.empty_like(projected)
        d_taps, d_scale = np.zeros(taps.shape, np.float32), np.zeros(scale.numel(), np.float32)
        dq, dk, dv = (_bits(gradient) for gradient in gradients)
        kernels.heads_backward(
            dq, dk, dv,
            _bits(projected), _fp32(taps), _fp32(cosine), _fp32(sine), _fp32(scale).reshape(-1),
            _bits(d_projected), d_taps, d_scale,
        )  # fmt: skip
        return d_projected, _like(d_taps, taps), _like(d_scale, scale), None, None


def heads(
    projected: Tensor, taps: Tensor, scale: Tensor, cosine: Tensor, sine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """From the projection (B, T, 3 C) to queries, keys and values (B, H, T, D): `ShortConvolution`; of queries and keys
    the layer norm of every head, and `rotate`; queries times `scale` (H, 1, 1). `cosine` and `sine` are (T, D)."""
    q, k, v = _Heads.apply(projected, taps, scale, cosine, sine)  # type: ignore[no-untyped-call]
    return q, k, v
