"""Causal self-attention (Vaswani et al., "Attention Is All You Need", 2017), the plain way and the fused way.

Shapes: B batch, T new tokens, S tokens attended to (cached ones first), C width, H heads, D = C / H.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinygpt.model.config import ModelConfig
from tinygpt.model.kv_cache import LayerCache
from tinygpt.model.positions import rotary_table, rotate


def plain_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, dropout: float = 0.0) -> Tensor:
    """Attention step by step. q is (B, H, T, D), k and v (B, H, S, D), mask (T, S) is True where t may see s."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))  # (B, H, T, S): how well each query matches each key
    scores = scores.masked_fill(~mask, float("-inf"))  # no looking ahead: exp(-inf) = 0
    weights = torch.softmax(scores, dim=-1)  # (B, H, T, S): each row sums to 1
    weights = F.dropout(weights, dropout)
    return weights @ v  # (B, H, T, D): a weighted mean of the values


class CausalSelfAttention(nn.Module):
    """Every position attends to itself and to those before it.

    `fused` picks `scaled_dot_product_attention` (fast) over `plain_attention` (readable); they give the same result.
    """

    causal_mask: Tensor
    cosine: Tensor
    sine: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.attention_dropout = config.attention_dropout
        self.qk_norm = config.qk_norm
        self.rotary = config.positions == "rotary"
        self.fused = True
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)
        lower_triangle = torch.tril(torch.ones(config.context_length, config.context_length, dtype=torch.bool))
        self.register_buffer("causal_mask", lower_triangle)
        if self.rotary:
            cosine, sine = rotary_table(config.context_length, config.head_width)
            self.register_buffer("cosine", cosine, persistent=False)
            self.register_buffer("sine", sine, persistent=False)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """x (B, T, C) to (B, T, C). With a cache, the T tokens come after those it holds, and are added to it."""
        batch, time, width = x.shape
        q, k, v = self.query_key_value(x).split(width, dim=-1)
        q, k, v = (t.view(batch, time, self.heads, -1).transpose(1, 2) for t in (q, k, v))  # (B, H, T, D)
        past = cache.length if cache is not None else 0
        if self.qk_norm:
            q, k = (F.rms_norm(t, (t.size(-1),)) for t in (q, k))
        if self.rotary:
            q, k = (rotate(t, self.cosine[past : past + time], self.sine[past : past + time]) for t in (q, k))
        if cache is not None:
            k, v = cache.append(k, v)  # (B, H, S, D)
        dropout = self.attention_dropout if self.training else 0.0
        mask = self.causal_mask[past : past + time, : past + time]
        if not self.fused:
            y = plain_attention(q, k, v, mask, dropout)
        elif past == 0:
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        y = y.transpose(1, 2).reshape(batch, time, width)  # heads side by side again
        mixed: Tensor = self.output(y)
        return mixed
