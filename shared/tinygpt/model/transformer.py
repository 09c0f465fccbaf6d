"""The network: a decoder-only transformer with pre-normalisation (GPT-2: Radford et al., 2019).

Shapes: B batch, T time, C width, V vocabulary.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinygpt.model.attention import CausalSelfAttention
from tinygpt.model.config import ModelConfig
from tinygpt.model.convolution import ShortConvolution
from tinygpt.model.kv_cache import KVCache, LayerCache
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


class Block(nn.Module):
    """Attention, then MLP, each normalised before and added back to the stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = CausalSelfAttention(config)
        self.mlp_norm = nn.LayerNorm(config.width)
        self.convolution = ShortConvolution(config.convolution, config.width) if config.convolution else None
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: LayerCache | None = None, wanted: Tensor | None = None) -> Tensor:
        """x (B, T, C) to (B, T, C); or, of the positions `wanted` (N) of the B * T alone, to (N, C)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), cache))
        normed = self.mlp_norm(x)
        if self.convolution is not None:
            normed = self.convolution(normed, cache.recent_normed if cache is not None else None)
        if wanted is not None:
            x, normed = x.flatten(0, 1)[wanted], normed.flatten(0, 1)[wanted]
        y: Tensor = x + self.dropout(self.mlp(normed))
        return y


class TinyGPT(nn.Module):
    """Token ids in, logits over the next token out.

    Padding goes on the right: a position never sees what comes after it, so no padding mask is needed.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        if config.positions == "learned":
            self.position_embedding = nn.Embedding(config.context_length, config.width)
        self.ngram_embedding = (
            NgramEmbedding(config.ngrams, config.ngram_buckets, config.width) if config.ngrams else None
        )
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        self._initialise()
        if config.tie_weights:
            self.head.weight = self.token_embedding.weight

    def _initialise(self) -> None:
        """GPT-2's: normal with 0.02; what writes to the residual stream shrunk by the number of such writes.

        What is added to a plain transformer starts at nothing: convolutions and n-grams at 0.
        """
        for name, parameter in self.named_parameters():
            if name.endswith(("convolution.weight", "table.weight")):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                writes_to_stream = name.endswith("output.weight")
                scale = 1 / math.sqrt(2 * self.config.layers) if writes_to_stream else 1.0
                nn.init.normal_(parameter, std=0.02 * scale)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def features(self, ids: Tensor, cache: KVCache | None = None, wanted: Tensor | None = None) -> Tensor:
        """ids (B, T) to the last layer's features (B, T, C). Raises `ValueError` beyond the context length.

        With `wanted` (N), indices into B * T, the features of those positions alone, (N, C): the last MLP is then
        computed for them only.
        """
        past = cache.length if cache is not None else 0
        end = past + ids.size(1)
        if end > self.config.context_length:
            raise ValueError(f"{end} tokens are more than the context of {self.config.context_length}")
        x = self.token_embedding(ids)
        if self.config.positions == "learned":
            x = x + self.position_embedding(torch.arange(past, end, device=ids.device))
        if self.ngram_embedding is not None:
            x = x + self.ngram_embedding(ids, cache.recent_ids if cache is not None else None).to(x.dtype)
        x = self.dropout(x)
        for i, block in enumerate(self.blocks):
            is_last = i == len(self.blocks) - 1
            x = block(x, cache.layers[i] if cache is not None else None, wanted if is_last else None)
        normed: Tensor = self.final_norm(x)
        return normed

    def forward(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """ids (B, T) to logits (B, T, V)."""
        logits: Tensor = self.head(self.features(ids, cache))
        return logits

    @property
    def parameter_count(self) -> int:
        """Learned numbers, a shared weight counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def device(self) -> torch.device:
        return self.token_embedding.weight.device
