"""Hashed n-gram embeddings: what a position reads of the text that ends there, beside its own character.

The ids of the last n tokens are hashed to a row of one table; rows that share a hash share an embedding. A character
alone says little; its last three or four are almost a word (fastText: Bojanowski et al., 2017; BLT: Pagnoni et al.,
2024, section 3.2).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MULTIPLIER = 1_000_003


class NgramEmbedding(nn.Module):
    """The sum of the embeddings of the n-grams that end at each position, for every n in `sizes`.

    Only the rows that a batch uses get a gradient, a sparse one: a step's cost does not grow with the table.
    """

    def __init__(self, sizes: tuple[int, ...], buckets: int, width: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.table = nn.EmbeddingBag(buckets, width, mode="sum", sparse=True)

    @property
    def context(self) -> int:
        """How many tokens before the first one its n-grams reach back to."""
        return max(self.sizes) - 1

    def forward(self, ids: Tensor, recent: Tensor | None = None) -> Tensor:
        """ids (B, T) to (B, T, C). `recent` (B, context) holds the ids before them; it is brought up to date."""
        time = ids.size(1)
        padded = F.pad(ids, (self.context, 0)) if recent is None else torch.cat((recent, ids), dim=1)
        if recent is not None:
            recent.copy_(padded[:, padded.size(1) - self.context :])
        hashed = torch.zeros_like(ids)
        buckets = []
        for back in range(self.context + 1):
            start = self.context - back
            hashed = hashed * _MULTIPLIER + padded[:, start : start + time] + 1
            if back + 1 in self.sizes:
                buckets.append((hashed ^ (hashed >> 17)).remainder(self.table.num_embeddings))
        embedded: Tensor = self.table(torch.stack(buckets, dim=-1).flatten(0, 1))  # (B * T, C)
        return embedded.view(*ids.shape, -1)
