"""Attention: from a projection to the heads' queries, keys and values, and from those to what each position takes."""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from tinygpt.compiled.jit import OBSTACLE
from tinygpt.model.ops.arrays import array_of, fp32_array_of, has_kernels, tensor_like
from tinygpt.model.ops.convolution import short_convolution
from tinygpt.model.positions import rotate

if not OBSTACLE:
    from tinygpt.model import training_kernels as kernels

Angles = tuple[Tensor, Tensor]
"""Cosine and signed sine of the positions' angles, each (T, D): see `rotary_table`."""


# -- heads


def attention_heads(
    projected: Tensor,
    scale: Tensor,
    taps: Tensor | None = None,
    recent: Tensor | None = None,
    *,
    normalise: bool = False,
    angles: Angles | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values (B, H, T, D) from their projection (B, T, 3 C).

    In order: a short convolution with `taps` and `recent`; if `normalise`, a layer norm of each head of queries and
    keys; if there are `angles`, a rotation of queries and keys; queries times `scale` (H, 1, 1).
    """
    head_width = projected.size(-1) // (3 * scale.size(0))
    if (
        (taps is not None and normalise and angles is not None)
        and recent is None
        and has_kernels(projected.dtype, projected.device, head_width, 32)
    ):
        return compiled_heads(projected, scale, taps, angles)
    return reference_heads(projected, scale, taps, recent, normalise=normalise, angles=angles)


def reference_heads(
    projected: Tensor,
    scale: Tensor,
    taps: Tensor | None = None,
    recent: Tensor | None = None,
    *,
    normalise: bool = False,
    angles: Angles | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """`attention_heads` in torch."""
    batch, time, _ = projected.shape
    number = scale.size(0)
    convolved = short_convolution(projected, taps, recent)
    heads = convolved.view(batch, time, 3 * number, -1).transpose(1, 2)  # (B, 3 H, T, D)
    qk, v = torch.split(heads, [2 * number, number], dim=1)
    if normalise:
        qk = F.layer_norm(qk, qk.shape[-1:])
    if angles is not None:
        qk = rotate(qk, *angles)
    q, k = qk.chunk(2, dim=1)
    return q * scale.to(q.dtype), k, v


def compiled_heads(projected: Tensor, scale: Tensor, taps: Tensor, angles: Angles) -> tuple[Tensor, Tensor, Tensor]:
    """`attention_heads`, with all that it has, in one pass over memory. D is a multiple of 32."""
    q, k, v = _Heads.apply(projected, scale, taps, *angles)  # type: ignore[no-untyped-call]
    return q, k, v


class _Heads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, scale: Tensor, taps: Tensor, cosine: Tensor, sine: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        projected = projected.contiguous()
        ctx.save_for_backward(projected, scale, taps, cosine, sine)
        batch, time, channels = projected.shape
        number = scale.numel()
        q, k, v = torch.empty(3, batch, number, time, channels // (3 * number), dtype=projected.dtype)
        kernels.heads(
            array_of(projected),
            fp32_array_of(taps),
            fp32_array_of(cosine),
            fp32_array_of(sine),
            fp32_array_of(scale).reshape(-1),
            array_of(q),
            array_of(k),
            array_of(v),
        )
        return q, k, v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        projected, scale, taps, cosine, sine = ctx.saved_tensors
        d_projected = torch.empty_like(projected)
        d_scale, d_taps = np.zeros(scale.numel(), np.float32), np.zeros(taps.shape, np.float32)
        dq, dk, dv = (array_of(gradient) for gradient in gradients)
        kernels.heads_backward(
            dq, dk, dv,
            array_of(projected), fp32_array_of(taps), fp32_array_of(cosine), fp32_array_of(sine),
            fp32_array_of(scale).reshape(-1),
            array_of(d_projected), d_taps, d_scale,
        )  # fmt: skip
        return d_projected, tensor_like(scale, d_scale), tensor_like(taps, d_taps), None, None


# -- what each position takes


def causal_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """The values that each query sees, averaged with `attention_weights`: (B, H, T, D).

    q is (B, H, T, D) and scaled; k and v are (B, H, S, D), those of the T queries last; mask (T, S) is True where t
    may see s.

    torch's fused attention is the fastest, except for gradients in bf16 on a CPU: there it takes several times as long
    as a softmax of our own between two matrix products (docs/experiments.md).
    """
    whole = k.size(2) == q.size(2)  # no position is cached
    if not (q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.requires_grad):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=None if whole else mask, is_causal=whole, scale=1.0)
    if whole and has_kernels(q.dtype, q.device, q.size(2)):
        return compiled_attention(q, k, v)
    return reference_attention(q, k, v, mask)


def reference_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """`causal_attention` step by step."""
    return attention_weights(q, k, mask) @ v


def attention_weights(q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
    """How much each query takes from each key, (B, H, T, S): arguments as in `causal_attention`."""
    unseen = torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, -math.inf)
    scores = q @ k.transpose(-2, -1) + unseen  # (B, H, T, S): how well each query matches each key; exp(-inf) = 0
    return torch.softmax(scores, dim=-1)  # (B, H, T, S): each row sums to 1


def compiled_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`causal_attention` without a cache, with a compiled softmax. T is a multiple of 16."""
    y: Tensor = _Attention.apply(q, k, v)  # type: ignore[no-untyped-call]
    return y


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights = q @ k.mT
        kernels.causal_softmax(array_of(weights.flatten(0, 1)))
        ctx.save_for_backward(q, k, v, weights)
        return weights @ v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        q, k, v, weights = ctx.saved_tensors
        dy = gradients[0].contiguous()
        d_scores = dy @ v.mT
        kernels.causal_softmax_backward(array_of(weights.flatten(0, 1)), array_of(d_scores.flatten(0, 1)))
        return d_scores @ k, d_scores.mT @ q, weights.mT @ dy
