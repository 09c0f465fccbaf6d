"""Models that know n-grams without having been trained."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tinygpt.model.ngram_hashes import ngram_hashes
from tinygpt.model.transformer import TinyGPT


def ngrams_of(ids: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """The hashes of all n-grams of the texts `ids` (B, T)."""
    padded = F.pad(ids, (max(sizes) - 1, 0))
    distinct: Tensor = torch.unique(torch.cat([hashes.flatten() for hashes in ngram_hashes(padded, sizes)]))
    return distinct


def know_ngrams(model: TinyGPT, ids: Tensor | None = None) -> TinyGPT:
    """The model, which now knows the n-grams of the texts `ids` (B, T) and, as far as there is room for them in its
    table, half of those of two tokens."""
    embedding = model.ngram_embedding
    if embedding is not None:
        tokens = torch.arange(model.config.vocab_size)
        pairs = torch.cartesian_prod(tokens, tokens)[::2]
        known = ngrams_of(ids, embedding.sizes) if ids is not None else torch.empty(0, dtype=torch.int64)
        (of_two,) = ngram_hashes(pairs, (2,))
        others = of_two[~torch.isin(of_two, known)]
        embedding.know(torch.cat([known, others])[: model.config.ngram_rows])
    return model
