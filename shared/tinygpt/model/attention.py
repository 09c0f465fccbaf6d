"""Causal self-attention (Vaswani et al., "Attention Is All You Need", 2017).

Shapes: B batch, T new tokens, S tokens attended to (cached ones first), C width, H heads, D = C / H.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tinygpt.model import ops
from tinygpt.model.config import ModelConfig
from tinygpt.model.convolution import ShortConvolution
from tinygpt.model.kv_cache import LayerCache
from tinygpt.model.positions import rotary_table


class CausalSelfAttention(nn.Module):
    """Every position takes from itself and from those before it, in each head by what its query asks for.

    Options of `ModelConfig` add to the tutorial's attention: a short convolution of queries, keys and values, a layer
    norm of queries and keys with a learned scale, and rotary positions.
    """

    causal_mask: Tensor
    cosine: Tensor
    sine: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.head_width = config.head_width
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)
        self.convolution = ShortConvolution(config.convolution, 3 * config.width) if config.convolution else None
        self.qk_norm = config.qk_norm
        if config.qk_norm:
            # The score of a query and a key that point the same way, by head. A logarithm, so that it stays positive.
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
        q, k, v = self.queries_keys_values(x, cache)
        if cache is not None:
            k, v = cache.append(k, v)  # (B, H, S, D)
        y = ops.causal_attention(q, k, v, self._mask(q, k))  # (B, H, T, D)
        mixed: Tensor = self.output(y.transpose(1, 2).flatten(2))  # heads side by side again
        return mixed

    def weights(self, x: Tensor, heads: Sequence[int]) -> Tensor:
        """How much each position of x (B, T, C) takes from each, in these heads: (B, heads, T, T)."""
        q, k, _ = self.queries_keys_values(x)
        chosen = list(heads)
        return ops.attention_weights(q[:, chosen], k[:, chosen], self._mask(q, k))

    def queries_keys_values(self, x: Tensor, cache: LayerCache | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, scaled, and the new keys and values of x (B, T, C), each (B, H, T, D)."""
        past = cache.length if cache is not None else 0
        here = slice(past, past + x.size(1))
        return ops.attention_heads(
            self.query_key_value(x),
            self.scale(),
            taps=self.convolution.weight if self.convolution is not None else None,
            recent=cache.recent_projected if cache is not None else None,
            normalise=self.qk_norm,
            angles=(self.cosine[here], self.sine[here]) if self.rotary else None,
        )

    def scale(self) -> Tensor:
        """What queries are multiplied by, (H, 1, 1). Normalised queries and keys have length sqrt(D)."""
        if self.qk_norm:
            return self.log_scale.exp() / self.head_width
        return torch.full((self.heads, 1, 1), self.head_width**-0.5, device=self.causal_mask.device)

    def _mask(self, q: Tensor, k: Tensor) -> Tensor:
        """Which of the S keys each of the last T positions sees, (T, S)."""
        new, total = q.size(2), k.size(2)
        return self.causal_mask[total - new : total, :total]
