"""Which n-grams have an embedding: those that are frequent in the training rows."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tinygpt.data.examples import Example
from tinygpt.data.tokenizer import PAD
from tinygpt.model.config import ModelConfig
from tinygpt.model.ngram_hashes import ngram_hashes
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.batches import collate, permutation

MIN_OCCURRENCES = 10
"""Rarer n-grams are memorised rather than generalised from. docs/experiments.md has what other numbers gave."""
_MAX_TOKENS_COUNTED = 2**22
"""About as many are counted, in random rows, so that a million rows take no longer than fifty thousand."""
_ROWS_AT_ONCE = 512


def frequent_ngrams(
    config: ModelConfig,
    examples: Sequence[Example],
    lengths: NDArray[np.int32],
    poll: Callable[[], object] = lambda: None,
) -> Tensor:
    """The hashes of the most frequent n-grams of the sizes `config.ngrams`: int64, at most (`config.ngram_rows`,).

    Each occurs at least `MIN_OCCURRENCES` times in the rows counted. `lengths` are those of the examples' ids. Calls
    `poll` now and then.
    """
    if not config.ngrams:
        return torch.empty(0, dtype=torch.int64)
    share = min(1.0, _MAX_TOKENS_COUNTED / int(lengths.sum()))
    counted = permutation(np.random.PCG64(0), len(examples))[: math.ceil(share * len(examples))]
    kept: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for hashes in _hashes_by_size(config.ngrams, examples, np.sort(counted), poll):
        poll()
        distinct, counts = np.unique(hashes, return_counts=True)
        frequent = counts >= MIN_OCCURRENCES
        kept.append((distinct[frequent], counts[frequent]))
    distinct, counts = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    most_frequent = np.argsort(-counts, kind="stable")[: config.ngram_rows]
    return torch.from_numpy(distinct[most_frequent])


def model_with(ngrams: Tensor, config: ModelConfig) -> TinyGPT:
    """A new model whose table has exactly these n-grams. No n-grams: no table."""
    sized = replace(config, ngram_rows=len(ngrams)) if len(ngrams) else replace(config, ngrams=())
    model = TinyGPT(sized)
    if model.ngram_embedding is not None:
        model.ngram_embedding.know(ngrams)
    return model


def _hashes_by_size(
    sizes: tuple[int, ...], examples: Sequence[Example], counted: NDArray[np.int64], poll: Callable[[], object]
) -> Iterator[NDArray[np.int64]]:
    """For each size, the hash of the n-gram that ends at each token of the examples numbered `counted`."""
    found: list[list[NDArray[np.int64]]] = [[] for _ in set(sizes)]
    for start in range(0, len(counted), _ROWS_AT_ONCE):
        poll()
        ids = collate([examples[i] for i in counted[start : start + _ROWS_AT_ONCE].tolist()]).ids
        padded = F.pad(ids, (max(sizes) - 1, 0))
        for of_size, hashes in zip(found, ngram_hashes(padded, sizes), strict=True):
            of_size.append(hashes[ids != PAD].numpy())
    while found:
        yield np.concatenate(found.pop(0))
