"""The block of a recurrent network: long short-term memory (Hochreiter & Schmidhuber, "Long Short-Term Memory", 1997).

Attention looks back at every token. An LSTM reads the tokens one after the other and keeps what its gates let through,
in two vectors of fixed size. A new token therefore costs the same however long the text is, but what was let go is
gone, and training can't read the tokens of a row in parallel.

Shapes: B batch, T time, C width.
"""

import torch
from torch import Tensor, nn

from tinygpt.model.config import ModelConfig


class LSTMCache:
    """One layer's state after the tokens read: `hidden` and `cell`, each (1, batch, width)."""

    def __init__(self, batch: int, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> None:
        self.hidden = torch.zeros(1, batch, config.width, device=device, dtype=dtype)
        self.cell = torch.zeros_like(self.hidden)


class LSTMBlock(nn.Module):
    """An LSTM in place of attention and MLP, normalised before and added back to the stream."""

    def __init__(self, config: ModelConfig, _layer: int) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(config.width)
        self.lstm = nn.LSTM(config.width, config.width, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        # The forget gates start open, so that what is remembered lasts (Jozefowicz et al., 2015).
        _, forget, _, _ = self.lstm.get_parameter("bias_ih_l0").chunk(4)
        nn.init.ones_(forget)

    def forward(self, x: Tensor, cache: LSTMCache | None = None, labelled_positions: Tensor | None = None) -> Tensor:
        """x (B, T, C) to (B, T, C), or to (N, C) for N `labelled_positions`, indices into B * T."""
        y, state = self.lstm(self.norm(x), None if cache is None else (cache.hidden, cache.cell))
        if cache is not None:
            cache.hidden, cache.cell = state
        if labelled_positions is not None:
            x, y = x.flatten(0, 1)[labelled_positions], y.flatten(0, 1)[labelled_positions]
        added: Tensor = x + self.dropout(y)
        return added

    def make_cache(self, batch: int) -> LSTMCache:
        weight = self.norm.weight
        return LSTMCache(batch, self.config, weight.device, weight.dtype)
