"""The network: a decoder-only transformer with pre-normalisation (GPT-2: Radford et al., 2019).

Shapes: B batch, T time, C width, V vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinygpt.model import fused
from tinygpt.model.attention import CausalSelfAttention
from tinygpt.model.cache import Cache
from tinygpt.model.config import Architecture, ModelConfig
from tinygpt.model.convolution import ShortConvolution
from tinygpt.model.kv_cache import LayerCache
from tinygpt.model.lstm import LSTMBlock, LSTMCache
from tinygpt.model.mamba import MambaBlock, MambaCache
from tinygpt.model.ngrams import NgramEmbedding


class MLP(nn.Module):
    """Two linear layers with a GELU between (Hendrycks & Gimpel, 2016), four times as wide inside."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(config.width, config.mlp_width)
        self.output = nn.Linear(config.mlp_width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.output(F.gelu(self.expand(x)))
        return y


class AttentionBlock(nn.Module):
    """Attention, normalised before and added back to the stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = CausalSelfAttention(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """x (B, T, C) to (B, T, C)."""
        y: Tensor = x + self.dropout(self.attention(self.attention_norm(x), cache))
        return y


class Block(AttentionBlock):
    """Attention, then MLP, each normalised before and added back to the stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.mlp_norm = nn.LayerNorm(config.width)
        self.convolution = ShortConvolution(config.convolution, config.width) if config.convolution else None
        self.mlp = MLP(config)

    def forward(self, x: Tensor, cache: LayerCache | None = None, wanted: Tensor | None = None) -> Tensor:
        """x (B, T, C) to (B, T, C); or, of the positions `wanted` (N) of the B * T alone, to (N, C)."""
        x = super().forward(x, cache)
        normed = self._mlp_input(x, cache)
        if wanted is not None:
            x, normed = x.flatten(0, 1)[wanted], normed.flatten(0, 1)[wanted]
        y: Tensor = x + self.dropout(self.mlp(normed))
        return y

    def _mlp_input(self, x: Tensor, cache: LayerCache | None) -> Tensor:
        norm, convolution = self.mlp_norm, self.convolution
        if convolution is None:
            normed: Tensor = norm(x)
        elif cache is None and fused.can_fuse(x.dtype, x.device, x.size(-1)):
            normed = fused.norm_convolution(x, norm.weight, norm.bias, convolution.weight)
        else:
            normed = convolution(norm(x), cache.recent_normed if cache is not None else None)
        return normed


_BLOCKS: dict[Architecture, Callable[[ModelConfig], nn.Module]] = {
    "transformer": Block,
    "lstm": LSTMBlock,
    "mamba": MambaBlock,
}
_LAYER_CACHES: dict[Architecture, Callable[[int, ModelConfig, torch.device, torch.dtype], Any]] = {
    "transformer": LayerCache,
    "lstm": LSTMCache,
    "mamba": MambaCache,
}


class TinyGPT(nn.Module):
    """Token ids in, logits over the next token out.

    `config.architecture` says what the blocks are, to compare a transformer's with others; all else is the same.
    Padding goes on the right: a position never sees what comes after it, so no padding mask is needed.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.learns_positions = config.architecture == "transformer" and config.positions == "learned"
        if self.learns_positions:
            self.position_embedding = nn.Embedding(config.context_length, config.width)
        self.ngram_embedding = NgramEmbedding(config.ngrams, config.ngram_rows, config.width) if config.ngrams else None
        self.dropout = nn.Dropout(config.dropout)
        block = _BLOCKS[config.architecture]
        earlier_block = AttentionBlock if config.mlps == "last" and block is Block else block
        self.blocks = nn.ModuleList(earlier_block(config) for _ in range(config.layers - 1))
        self.blocks.append(block(config))
        self.final_norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.future = nn.ModuleList(
            nn.Linear(config.width, config.width, bias=False) for _ in range(config.future_tokens)
        )
        self._initialise()
        if config.tie_weights:
            self.head.weight = self.token_embedding.weight

    def _initialise(self) -> None:
        """GPT-2's: normal with 0.02; what writes to the residual stream divided by sqrt(2 layers), for GPT-2's blocks
        write twice each.

        What is added to a plain transformer starts at nothing: convolutions, n-grams and what foretells later tokens
        at 0. An LSTM's own matrices, and vectors other than a bias, start as their module says.
        """
        for name, parameter in self.named_parameters():
            if name.endswith(("convolution.weight", "table.weight")) or name.startswith("future."):
                nn.init.zeros_(parameter)
            elif name.endswith(".weight") and parameter.dim() == 2:
                writes_to_stream = name.endswith("output.weight")
                scale = 1 / math.sqrt(2 * self.config.layers) if writes_to_stream else 1.0
                nn.init.normal_(parameter, std=0.02 * scale)
            elif name.endswith(".bias"):
                nn.init.zeros_(parameter)

    def features(
        self,
        ids: Tensor,
        cache: Cache | None = None,
        wanted: Tensor | None = None,
        ngram_weights: Tensor | None = None,
    ) -> Tensor:
        """ids (B, T) to the last layer's features (B, T, C). Raises `ValueError` beyond the context length.

        With `wanted` (N), indices into B * T, the features of those positions alone, (N, C): the last MLP is then
        computed for them only. With `ngram_weights` (B, T), a position's n-grams count so much.
        """
        x = self._embed(ids, cache, ngram_weights)
        layer_caches = cache.layers if cache is not None else [None] * len(self.blocks)
        *earlier, last = self.blocks
        for block, layer_cache in zip(earlier, layer_caches, strict=False):
            x = block(x, layer_cache)
        x = last(x, layer_caches[-1], wanted)
        if cache is not None:
            cache.length += ids.size(1)
        normed: Tensor = self.final_norm(x)
        return normed

    def _embed(self, ids: Tensor, cache: Cache | None = None, ngram_weights: Tensor | None = None) -> Tensor:
        """ids (B, T) to what the first block reads, (B, T, C)."""
        past = cache.length if cache is not None else 0
        end = past + ids.size(1)
        if end > self.config.context_length:
            raise ValueError(f"{end} tokens are more than the context of {self.config.context_length}")
        x: Tensor = self.token_embedding(ids)
        if self.learns_positions:
            x = x + self.position_embedding(torch.arange(past, end, device=ids.device))
        if self.ngram_embedding is not None:
            ngrams = self.ngram_embedding(ids, cache.recent_ids if cache is not None else None, x.dtype)
            x = x + (ngrams if ngram_weights is None else ngram_weights[..., None].to(x.dtype) * ngrams)
        embedded: Tensor = self.dropout(x)
        return embedded

    def attention_weights(self, ids: Tensor, layers: Sequence[int], heads: Sequence[int]) -> list[Tensor]:
        """ids (B, T) to where these heads of these layers, in ascending order, look: (B, heads, T, T) a layer. Of a
        transformer only."""
        x, weights, read = self._embed(ids), [], 0
        for layer in layers:
            for block in self.blocks[read:layer]:
                x = block(x)
            read = layer
            block = self.blocks[layer]
            assert isinstance(block, AttentionBlock)
            weights.append(block.attention.weights(block.attention_norm(x), heads))
        return weights

    def forward(self, ids: Tensor, cache: Cache | None = None) -> Tensor:
        """ids (B, T) to logits (B, T, V)."""
        logits: Tensor = self.head(self.features(ids, cache))
        return logits

    def future_logits(self, features: Tensor) -> list[Tensor]:
        """features (..., C) to logits (..., V) over the token after the next, over the one after that, and so on: those
        of `config.future_tokens` tokens. Only training asks for them."""
        return [self.head(features + transform(features)) for transform in self.future]

    def make_cache(self, batch: int = 1) -> Cache:
        """An empty cache for `batch` sequences that are decoded side by side."""
        weight, config = self.token_embedding.weight, self.config
        layer_cache = _LAYER_CACHES[config.architecture]
        layers = [layer_cache(batch, config, weight.device, weight.dtype) for _ in range(config.layers)]
        return Cache(
            layers, torch.zeros(batch, max(config.ngrams, default=1) - 1, device=self.device, dtype=torch.long)
        )

    @property
    def parameter_count(self) -> int:
        """Learned numbers, a shared weight counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def device(self) -> torch.device:
        return self.token_embedding.weight.device
