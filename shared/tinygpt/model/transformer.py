"""The network: a decoder-only transformer (GPT-2: Radford et al., 2019).

Shapes: B batch, T time, C width, V vocabulary.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tinygpt.model.architectures import make_blocks
from tinygpt.model.cache import Cache
from tinygpt.model.config import ModelConfig
from tinygpt.model.ngrams import NgramEmbedding


class TinyGPT(nn.Module):
    """Token ids in, logits over the next token out.

    The blocks are those of `config.architecture` (`architectures.py`); all else is the same for all architectures.
    Padding goes on the right. A position never sees what comes after it, so no padding mask is needed.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        if config.has_position_embedding:
            self.position_embedding = nn.Embedding(config.context_length, config.width)
        self.ngram_embedding = NgramEmbedding(config.ngrams, config.ngram_rows, config.width) if config.ngrams else None
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = make_blocks(config)
        self.final_norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.future = nn.ModuleList(
            nn.Linear(config.width, config.width, bias=False) for _ in range(config.future_tokens)
        )
        self._initialise()
        if config.tie_weights:
            self.head.weight = self.token_embedding.weight

    def _initialise(self) -> None:
        """As in GPT-2: normal with 0.02. What writes to the residual stream is divided by sqrt(2 layers), because a
        block of GPT-2 writes twice.

        Convolutions, n-grams and `future` start at 0, so that the network starts as a plain transformer. An LSTM's own
        matrices, and vectors other than a bias, start as their module says.
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
        labelled_positions: Tensor | None = None,
        ngram_weights: Tensor | None = None,
    ) -> Tensor:
        """ids (B, T) to the features of the last layer (B, T, C), which the head turns into logits.

        With N `labelled_positions`, indices into B * T, only the features of those positions, (N, C): the last MLP is
        computed for them alone. `ngram_weights` (B, T) multiplies the embeddings of each position's n-grams.
        Raises `ValueError` beyond the context length.
        """
        x = self._embed(ids, cache, ngram_weights)
        layer_caches = cache.layers if cache is not None else [None] * len(self.blocks)
        *earlier, last = self.blocks
        for block, layer_cache in zip(earlier, layer_caches, strict=False):
            x = block(x, layer_cache)
        x = last(x, layer_caches[-1], labelled_positions)
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
        if self.config.has_position_embedding:
            x = x + self.position_embedding(torch.arange(past, end, device=ids.device))
        if self.ngram_embedding is not None:
            ngrams = self.ngram_embedding(ids, cache.recent_ids if cache is not None else None, x.dtype)
            x = x + (ngrams if ngram_weights is None else ngram_weights[..., None].to(x.dtype) * ngrams)
        embedded: Tensor = self.dropout(x)
        return embedded

    def attention_weights(self, ids: Tensor, layers: Sequence[int], heads: Sequence[int]) -> list[Tensor]:
        """How much each position takes from each in these heads of these layers, (B, heads, T, T) a layer.

        Of the architectures, only the transformer has attention.
        """
        x, weights, last = self._embed(ids), [], max(layers)
        for layer, block in enumerate(self.blocks[: last + 1]):
            if layer in layers:
                weights.append(block.attention_weights(x, heads))  # type: ignore[operator]
            if layer < last:
                x = block(x)
        return weights

    def forward(self, ids: Tensor, cache: Cache | None = None) -> Tensor:
        """ids (B, T) to logits (B, T, V)."""
        logits: Tensor = self.head(self.features(ids, cache))
        return logits

    def future_logits(self, features: Tensor) -> list[Tensor]:
        """features (..., C) to logits (..., V) over each of the `config.future_tokens` tokens after the next one. Only
        training asks for them."""
        return [self.head(features + transform(features)) for transform in self.future]

    def make_cache(self, batch: int = 1) -> Cache:
        """An empty cache, to decode `batch` sequences side by side."""
        context = max(self.config.ngrams, default=1) - 1
        return Cache(
            layers=[block.make_cache(batch) for block in self.blocks],  # type: ignore[operator]
            recent_ids=torch.zeros(batch, context, device=self.device, dtype=torch.long),
        )

    @property
    def parameter_count(self) -> int:
        """Learned numbers. A shared weight counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def device(self) -> torch.device:
        return self.token_embedding.weight.device
