"""Which rows make a step, and how they become tensors.

Rows of like length go together, so that little of a batch is padding; the order of the batches stays random.
An epoch's batches follow from (seed, epoch) alone: a resumed run sees what the uninterrupted one would have.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinygpt.data.examples import IGNORED, Example
from tinygpt.data.tokenizer import PAD

_BATCHES_SORTED_TOGETHER = 64
_TIME_STEP = 16


def round_up(number: int, step: int) -> int:
    """The smallest multiple of `step` that is at least `number`."""
    return -(-number // step) * step


@dataclass(frozen=True)
class Batch:
    """`ids` and `labels` are (rows, time), padded on the right to the longest row."""

    ids: Tensor
    labels: Tensor
    ngram_weights: Tensor | None = None
    """fp32 (rows, time): what each position's n-grams count, 0 where they are dropped; None: 1 everywhere."""

    def to(self, device: torch.device) -> "Batch":
        weights = self.ngram_weights
        return Batch(self.ids.to(device), self.labels.to(device), weights.to(device) if weights is not None else None)


def epoch_batches(
    lengths: NDArray[np.int32], batch_size: int, *, seed: int, epoch: int, skip: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Every index once, in batches of `batch_size` (one may be smaller), from the batch number `skip` on.

    A pool of rows is sorted by length when one of its batches is due, so that an epoch starts at once.
    """
    random = np.random.PCG64([seed, epoch])
    order = permutation(random, len(lengths))
    pool = batch_size * _BATCHES_SORTED_TOGETHER
    for batch in permutation(random, batch_count(lengths, batch_size))[skip:].tolist():
        start = batch * batch_size
        rows = order[start - start % pool :][:pool]
        by_length = rows[np.argsort(lengths[rows], kind="stable")]
        yield by_length[start % pool :][:batch_size]


def endless_batches(
    lengths: NDArray[np.int32], batch_size: int, *, seed: int, skip: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Epoch after epoch, from the batch number `skip` on."""
    epoch, skip = divmod(skip, batch_count(lengths, batch_size))
    while True:
        yield from epoch_batches(lengths, batch_size, seed=seed, epoch=epoch, skip=skip)
        epoch, skip = epoch + 1, 0


def batch_count(lengths: NDArray[np.int32], batch_size: int) -> int:
    """Batches of an epoch."""
    return -(-len(lengths) // batch_size)


def permutation(random: np.random.PCG64, size: int) -> NDArray[np.int64]:
    """0 to `size` - 1 in random order, from the generator's raw stream: numpy promises to keep that between versions
    (NEP 19), unlike its own `permutation`."""
    return np.argsort(random.random_raw(size), kind="stable")


def collate(examples: Sequence[Example], context_length: int | None = None, *, masked: bool = True) -> Batch:
    """Pad examples on the right, inputs with `<PAD>`, labels with `IGNORED`.

    With `context_length` the time is rounded up within it: kernels are compiled and kept for every shape (oneDNN),
    so a few shapes train faster, and in half the memory, than one for every length. Without `masked` the prompt is
    labelled too.
    """
    longest = max(len(example.ids) for example in examples)
    if context_length is not None:
        longest = min(round_up(longest, _TIME_STEP), context_length)
    ids = np.full((len(examples), longest), PAD, dtype=np.int64)
    labels = np.full((len(examples), longest), IGNORED, dtype=np.int64)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = example.ids
        labels[row, : len(example.labels)] = example.labels
        if not masked:
            labels[row, : len(example.ids) - 1] = example.ids[1:]
    return Batch(torch.from_numpy(ids), torch.from_numpy(labels))


def ngram_dropout(epoch: int, most: float) -> float:
    """How likely a position's n-grams are dropped: 0 in the first two passes over the rows, 1/4 in the third, 2/5 in
    the fourth, and so on up to `most`. N-grams as long as words soon know rows by heart that they meet again.
    """
    return min(most, max(0, epoch - 1) / (epoch + 2))


def drop_ngrams(batch: Batch, probability: float, seed: int, epoch: int) -> Batch:
    """Without all n-grams of some positions (word dropout: Iyyer et al., 2015), the others weighted to make up for it.

    Which positions of a row those are follows from `seed`, `epoch` and the row, whatever rows it is learned with.
    """
    if probability == 0:
        return batch
    weights = torch.zeros(batch.ids.shape)
    for row, ids in enumerate(batch.ids.numpy()):
        random = np.random.Generator(np.random.PCG64([seed, epoch, crc32(ids[ids != PAD].tobytes())]))
        weights[row] = torch.from_numpy(random.random(len(ids)) >= probability)
    return replace(batch, ngram_weights=weights / (1 - probability))
