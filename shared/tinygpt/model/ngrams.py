"""N-gram embeddings: what a position reads of the text that ends there, beside its own character.

A character alone says little; its last three or four are almost a word (fastText: Bojanowski et al., 2017; BLT: Pagnoni
et al., 2024, section 3.2). Only n-grams that are frequent in what a model learns from have an embedding: a rare one
says nothing about other texts, and where all are hashed to the rows of one table it spoils the frequent ones' rows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinygpt.model import fused
from tinygpt.model.ngram_hashes import hash_table, ngram_hashes

_NONE = torch.iinfo(torch.int64).max


class NgramEmbedding(nn.Module):
    """The sum of the embeddings of the known n-grams that end at each position, for every n in `sizes`.

    It knows none until `know` is called, and at most `rows`. Only the rows that a batch uses get a gradient, a sparse
    one: a step's cost does not grow with the table.
    """

    known: Tensor
    """int64 (rows,): the known n-grams' hashes, ascending; each one's place is its row in the table."""
    places: Tensor
    """Where in `known` a hash is: its `hash_table`."""

    def __init__(self, sizes: tuple[int, ...], rows: int, width: int) -> None:
        super().__init__()
        self.sizes = tuple(sorted(set(sizes)))
        self.register_buffer("known", torch.full((rows,), _NONE))
        self.register_buffer("places", torch.full((1,), -1, dtype=torch.int32), persistent=False)
        self.register_load_state_dict_post_hook(_know_what_was_loaded)  # type: ignore[no-untyped-call]
        self.table = nn.EmbeddingBag(rows, width, mode="sum", sparse=True)

    @property
    def context(self) -> int:
        """How many tokens before the first one its n-grams reach back to."""
        return max(self.sizes) - 1

    @property
    def hashes(self) -> Tensor:
        """The known n-grams' hashes, int64 (known,)."""
        return self.known[self.known != _NONE]

    def know(self, hashes: Tensor) -> None:
        """Know these n-grams and no others: distinct hashes, int64 (up to `rows`,)."""
        self.known.fill_(_NONE)
        self.known[: len(hashes)] = hashes.sort().values
        self.places = torch.from_numpy(hash_table(self.hashes.cpu().numpy())).to(self.known.device)

    def forward(self, ids: Tensor, recent: Tensor | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """ids (B, T) to (B, T, C) in `dtype`. `recent` (B, context) holds the ids before them; it is brought up to
        date."""
        table = self.table.weight
        if recent is None and table.dtype == torch.float32 and fused.can_fuse(dtype, table.device, table.size(1)):
            of_table, starts = fused.find_ngrams(ids, self.sizes, self.places, self.known)
            return fused.sum_of_rows(table, of_table, starts, dtype).view(*ids.shape, -1)
        padded = F.pad(ids, (self.context, 0)) if recent is None else torch.cat((recent, ids), dim=1)
        if recent is not None:
            recent.copy_(padded[:, padded.size(1) - self.context :])
        hashes = torch.stack(list(ngram_hashes(padded, self.sizes)), dim=-1)  # (B, T, sizes)
        rows = torch.searchsorted(self.known, hashes).clamp(max=len(self.known) - 1)
        found = self.known[rows] == hashes
        number = found.sum(dim=-1).flatten()  # (B * T,): how many known n-grams end at each position
        embedded: Tensor = self.table(rows[found], number.cumsum(0) - number)  # (B * T, C)
        return embedded.to(dtype).view(*ids.shape, -1)


def _know_what_was_loaded(embedding: NgramEmbedding, _: object) -> None:
    embedding.know(embedding.hashes)
