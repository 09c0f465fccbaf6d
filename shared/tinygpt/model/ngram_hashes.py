"""Hashes of all n-grams of a batch of texts."""

from collections.abc import Iterator

import torch
from torch import Tensor

from tinygpt.compiled.ngrams import extended_hash


def ngram_hashes(padded: Tensor, sizes: tuple[int, ...]) -> Iterator[Tensor]:
    """For every n in `sizes`, ascending, the hashes (B, T) of the n-grams that end at each of the last T positions of
    `padded` (B, max(sizes) - 1 + T). What precedes a text is 0."""
    context = max(sizes) - 1
    time = padded.size(1) - context
    hashed = torch.zeros_like(padded[:, context:])
    for back in range(context + 1):
        start = context - back
        hashed = extended_hash(hashed, padded[:, start : start + time])
        if back + 1 in sizes:
            yield hashed
