"""Which n-grams get an embedding: those that are frequent in the training rows."""

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

LEAST_OCCURRENCES = 10
"""An n-gram of fewer is known by heart sooner than understood: docs/experiments.md has what other numbers gave."""
_TOKENS_COUNTED = 2**22
"""At most about as many, of rows chosen at random, so that counting takes no longer for a million rows than for fifty
thousand."""
_ROWS_AT_ONCE = 512


def frequent_ngrams(
    config: ModelConfig,
    examples: Sequence[Example],
    lengths: NDArray[np.int32],
    poll: Callable[[], object] = lambda: None,
) -> Tensor:
    """The hashes, int64 (up to `config.ngram_rows`,), of the most frequent n-grams of `config.ngrams`' sizes among
    those that occur `LEAST_OCCURRENCES` times in the rows counted. `lengths` are those of the examples' ids. Calls
    `poll` now and then."""
    if not config.ngrams:
        return torch.empty(0, dtype=torch.int64)
    share = min(1.0, _TOKENS_COUNTED / int(lengths.sum()))
    counted = permutation(np.random.PCG64(0), len(examples))[: math.ceil(share * len(examples))]
    kept: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for of_a_size in _hashes(config.ngrams, examples, np.sort(counted), poll):
        poll()
        distinct, counts = np.unique(of_a_size, return_counts=True)
        frequent = counts >= LEAST_OCCURRENCES
        kept.append((distinct[frequent], counts[frequent]))
    distinct, counts = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    most_frequent = np.argsort(-counts, kind="stable")[: config.ngram_rows]
    return torch.from_numpy(distinct[most_frequent])


def model_with(ngrams: Tensor, config: ModelConfig) -> TinyGPT:
    """A new model that has a table of exactly these n-grams, none where there are none."""
    sized = replace(config, ngram_rows=len(ngrams)) if len(ngrams) else replace(config, ngrams=())
    model = TinyGPT(sized)
    if model.ngram_embedding is not None:
        model.ngram_embedding.know(ngrams)
    return model


def _hashes(
    sizes: tuple[int, ...], examples: Sequence[Example], counted: NDArray[np.int64], poll: Callable[[], object]
) -> Iterator[NDArray[np.int64]]:
    """For every size, the hashes of the n-grams that end at any token of the examples `counted`."""
    found: list[list[NDArray[np.int64]]] = [[] for _ in set(sizes)]
    for start in range(0, len(counted), _ROWS_AT_ONCE):
        poll()
        ids = collate([examples[i] for i in counted[start : start + _ROWS_AT_ONCE].tolist()]).ids
        padded = F.pad(ids, (max(sizes) - 1, 0))
        for of_a_size, hashes in zip(found, ngram_hashes(padded, sizes), strict=True):
            of_a_size.append(hashes[ids != PAD].numpy())
    while found:
        yield np.concatenate(found.pop(0))
