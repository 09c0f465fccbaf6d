"""N-gram embeddings: what a position reads of the text that ends there, beside its own character.

A character alone says little; the last three or four are almost a word (fastText: Bojanowski et al., 2017; BLT: Pagnoni
et al., 2024, section 3.2). Only n-grams that are frequent in the training rows have an embedding. A rare one says
nothing about other texts, and if all were hashed to the rows of one table, it would spoil a frequent one's row.
"""

import torch
from torch import Tensor, nn

from tinygpt.compiled.ngrams import hash_table
from tinygpt.model import ops

_NONE = torch.iinfo(torch.int64).max


class NgramEmbedding(nn.Module):
    """The sum of the embeddings of the known n-grams that end at each position, for every n in `sizes`.

    It knows none until `know` is called, and at most `rows`. The gradient is sparse: only the rows that a batch uses
    have one, so the cost of a step does not grow with the table.
    """

    known: Tensor
    """int64 (rows,): the hashes of the known n-grams, ascending. A hash's index is its row in the table."""
    places: Tensor
    """The `hash_table` of `known`: it finds the index of a hash."""

    def __init__(self, sizes: tuple[int, ...], rows: int, width: int) -> None:
        super().__init__()
        self.sizes = tuple(sorted(set(sizes)))
        self.register_buffer("known", torch.full((rows,), _NONE))
        self.register_buffer("places", torch.full((1,), -1, dtype=torch.int32), persistent=False)
        self.register_load_state_dict_post_hook(_know_what_was_loaded)  # type: ignore[no-untyped-call]
        self.table = nn.EmbeddingBag(rows, width, mode="sum", sparse=True)

    @property
    def context(self) -> int:
        """How many tokens an n-gram reaches back from its last one."""
        return max(self.sizes) - 1

    @property
    def hashes(self) -> Tensor:
        """The hashes of the known n-grams, int64 (known,)."""
        return self.known[self.known != _NONE]

    def know(self, hashes: Tensor) -> None:
        """Know exactly these n-grams, given by their distinct hashes: int64, at most `rows`."""
        self.known.fill_(_NONE)
        self.known[: len(hashes)] = hashes.sort().values
        self.places = torch.from_numpy(hash_table(self.hashes.cpu().numpy())).to(self.known.device)

    def forward(self, ids: Tensor, recent: Tensor | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """ids (B, T) to (B, T, C) in `dtype`. `recent` (B, context), if given, holds the ids before them, and is
        updated."""
        return ops.ngram_embedding(ids, recent, self.sizes, self.known, self.places, self.table.weight, dtype)


def _know_what_was_loaded(embedding: NgramEmbedding, _: object) -> None:
    embedding.know(embedding.hashes)
