"""The block of a transformer, with pre-normalisation (GPT-2: Radford et al., 2019).

Shapes: B batch, T time, C width.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from tinygpt.model import ops
from tinygpt.model.attention import CausalSelfAttention
from tinygpt.model.config import ModelConfig
from tinygpt.model.convolution import ShortConvolution
from tinygpt.model.kv_cache import LayerCache


class MLP(nn.Module):
    """Two linear layers with a GELU between (Hendrycks & Gimpel, 2016), four times as wide inside."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(config.width, config.mlp_width)
        self.output = nn.Linear(config.mlp_width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.output(F.gelu(self.expand(x)))
        return y


class TransformerBlock(nn.Module):
    """Attention, then in most networks an MLP, each normalised before and added back to the stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = CausalSelfAttention(config)
        self.dropout = nn.Dropout(config.dropout)
        self.mlp = None
        if config.has_mlp(layer):
            self.mlp_norm = nn.LayerNorm(config.width)
            self.convolution = ShortConvolution(config.convolution, config.width) if config.convolution else None
            self.mlp = MLP(config)

    def forward(self, x: Tensor, cache: LayerCache | None = None, labelled_positions: Tensor | None = None) -> Tensor:
        """x (B, T, C) to (B, T, C), or to (N, C) for N `labelled_positions`, indices into B * T."""
        x = x + self.dropout(self.attention(self.attention_norm(x), cache))
        if self.mlp is None:
            return x if labelled_positions is None else x.flatten(0, 1)[labelled_positions]
        normed = ops.norm_convolution(
            x,
            self.mlp_norm.weight,
            self.mlp_norm.bias,
            taps=self.convolution.weight if self.convolution is not None else None,
            recent=cache.recent_normed if cache is not None else None,
        )
        if labelled_positions is not None:
            x, normed = x.flatten(0, 1)[labelled_positions], normed.flatten(0, 1)[labelled_positions]
        y: Tensor = x + self.dropout(self.mlp(normed))
        return y

    def attention_weights(self, x: Tensor, heads: Sequence[int]) -> Tensor:
        """How much each position of x (B, T, C) takes from each, in these heads: (B, heads, T, T)."""
        return self.attention.weights(self.attention_norm(x), heads)

    def make_cache(self, batch: int) -> LayerCache:
        weight = self.attention_norm.weight
        return LayerCache(batch, self.config, weight.device, weight.dtype)
