"""Causal self-attention (Vaswani et al., "Attention Is All You Need", 2017), the plain way and the fused way.

Shapes: B batch, T new tokens, S tokens attended to (cached ones first), C width, H heads, D = C / H.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinygpt.model import fused
from tinygpt.model.config import ModelConfig
from tinygpt.model.convolution import ShortConvolution
from tinygpt.model.kv_cache import LayerCache
from tinygpt.model.positions import rotary_table, rotate


def attention_weights(q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
    """How much each query takes from each key, (B, H, T, S). q is (B, H, T, D) and already scaled, by 1 / sqrt(D) or by
    what was learned; k is (B, H, S, D); mask (T, S) is True where t may see s."""
    unseen = torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, -math.inf)
    scores = q @ k.transpose(-2, -1) + unseen  # (B, H, T, S): how well each query matches each key; exp(-inf) = 0
    return torch.softmax(scores, dim=-1)  # (B, H, T, S): each row sums to 1


def plain_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, dropout: float = 0.0) -> Tensor:
    """Attention step by step: the values v (B, H, S, D), mixed by the weights of q, k and mask."""
    weights = F.dropout(attention_weights(q, k, mask), dropout)
    return weights @ v  # (B, H, T, D): a weighted mean of the values


class CausalSelfAttention(nn.Module):
    """Every position attends to itself and to those before it.

    `fused` picks `scaled_dot_product_attention` over `plain_attention`; they give the same result. The fused one is
    faster, but for its backward pass in bf16 on a CPU, which takes several times as long (docs/experiments.md): there
    `fused.causal_attention` has its place, and `plain_attention` where that can't be.
    """

    causal_mask: Tensor
    cosine: Tensor
    sine: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.head_width = config.head_width
        self.attention_dropout = config.attention_dropout
        self.fused = True
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)
        self.convolution = ShortConvolution(config.convolution, 3 * config.width) if config.convolution else None
        self.qk_norm = config.qk_norm
        if config.qk_norm:
            # The score of a query and a key that point the same way, by head, as a logarithm: it stays positive.
            self.log_scale = nn.Parameter(torch.full((config.heads, 1, 1), math.log(math.sqrt(config.head_width))))
        self.rotary = config.positions == "rotary"
        if self.rotary:
            cosine, sine = rotary_table(config.context_length, config.head_width)
            self.register_buffer("cosine", cosine, persistent=False)
            self.register_buffer("sine", sine, persistent=False)
        lower_triangle = torch.tril(torch.ones(config.context_length, config.context_length, dtype=torch.bool))
        self.register_buffer("causal_mask", lower_triangle)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """x (B, T, C) to (B, T, C). With a cache, the T tokens come after those it holds, and are added to it."""
        batch, time, width = x.shape
        past = cache.length if cache is not None else 0
        q, k, v = self._heads(self.query_key_value(x), past, cache)
        if cache is not None:
            k, v = cache.append(k, v)  # (B, H, S, D)
        dropout = self.attention_dropout if self.training else 0.0
        mask = self.causal_mask[past : past + time, : past + time]
        if not self.fused:
            y = plain_attention(q, k, v, mask, dropout)
        elif not _slow_when_fused(q) and past == 0:
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True, scale=1.0)
        elif not _slow_when_fused(q):
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=1.0)
        elif cache is None and not dropout and fused.can_fuse(q.dtype, q.device, time):
            y = fused.causal_attention(q, k, v)
        else:
            y = plain_attention(q, k, v, mask, dropout)
        y = y.transpose(1, 2).reshape(batch, time, width)  # heads side by side again
        mixed: Tensor = self.output(y)
        return mixed

    def weights(self, x: Tensor, heads: Sequence[int]) -> Tensor:
        """x (B, T, C) to where these heads look in it, (B, heads, T, T): what `forward` mixes the values by."""
        q, k, _ = self._heads(self.query_key_value(x), 0, None)
        chosen = list(heads)
        return attention_weights(q[:, chosen], k[:, chosen], self.causal_mask[: x.size(1), : x.size(1)])

    def _heads(self, projected: Tensor, past: int, cache: LayerCache | None) -> tuple[Tensor, Tensor, Tensor]:
        """From the projection (B, T, 3 C) to queries, scaled, and the new keys and values, each (B, H, T, D)."""
        batch, time, _ = projected.shape
        taps = self.convolution.weight if self.convolution is not None else None
        if (
            taps is not None
            and self.qk_norm
            and self.rotary
            and cache is None
            and fused.can_fuse(projected.dtype, projected.device, self.head_width, 32)
        ):
            return fused.heads(projected, taps, self._scale(), self.cosine[:time], self.sine[:time])
        if self.convolution is not None:
            projected = self.convolution(projected, cache.recent_projected if cache is not None else None)
        heads = projected.view(batch, time, 3 * self.heads, -1).transpose(1, 2)
        qk, v = torch.split(heads, [2 * self.heads, self.heads], dim=1)
        if self.qk_norm:
            qk = F.layer_norm(qk, (self.head_width,))
        if self.rotary:
            qk = rotate(qk, self.cosine[past : past + time], self.sine[past : past + time])
        q, k = qk.chunk(2, dim=1)
        return q * self._scale().to(q.dtype), k, v

    def _scale(self) -> Tensor:
        """What queries are multiplied by, (H, 1, 1) or (): normalised ones have length sqrt(D), and so have keys."""
        if self.qk_norm:
            return self.log_scale.exp() / self.head_width
        return torch.tensor(self.head_width**-0.5)


def _slow_when_fused(q: Tensor) -> bool:
    return q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.requires_grad
