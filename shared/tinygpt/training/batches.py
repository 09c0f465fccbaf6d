"""Which rows make a step, and how they become tensors.

A step learns from two groups of rows. Those of a group are of like length, so that little of it is padding; the groups
are drawn apart, so that few steps are of one length alone. They have about as many tokens each, but for those of an
epoch's last rows and groups of a row or two, so that two threads with a group each are done at the same time.
An epoch's steps follow from (seed, epoch) alone: a resumed run sees what the uninterrupted one would have.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinygpt.data.examples import IGNORED, Example
from tinygpt.data.tokenizer import PAD

GROUPS_OF_A_STEP = 2
_BATCHES_SORTED_TOGETHER = 64
_TIME_STEP = 16


Number = TypeVar("Number", int, NDArray[np.int32])


def round_up(number: Number, step: int) -> Number:
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
) -> Iterator[list[NDArray[np.int64]]]:
    """Every index once, in batches of `batch_size` on average, from the batch number `skip` on. Each is a list of
    `GROUPS_OF_A_STEP` groups; where batches are of one row, and at times an epoch's last one, of one group.

    A pool of rows is sorted by length when one of its groups is due, so that an epoch starts at once.
    """
    random = np.random.PCG64([seed, epoch])
    order = permutation(random, len(lengths))
    pool_size = batch_size * _BATCHES_SORTED_TOGETHER
    of_a_pool, of_the_last = (_group_count(rows, batch_size) for rows in (pool_size, len(order) % pool_size))
    of_a_batch = min(GROUPS_OF_A_STEP, batch_size)
    shuffled = permutation(random, len(order) // pool_size * of_a_pool + of_the_last)

    def rows_of(group: int) -> NDArray[np.int64]:
        pool, place = divmod(group, of_a_pool)
        rows = order[pool * pool_size :][:pool_size]
        by_length = rows[np.argsort(lengths[rows], kind="stable")]
        ends = _group_ends(lengths[by_length], _group_count(len(rows), batch_size))
        return by_length[ends[place] : ends[place + 1]]

    for start in range(skip * of_a_batch, len(shuffled), of_a_batch):
        yield [rows_of(group) for group in shuffled[start:][:of_a_batch].tolist()]


def _group_count(rows: int, batch_size: int) -> int:
    return min(rows, GROUPS_OF_A_STEP * batch_count(rows, batch_size))


def _group_ends(lengths: NDArray[np.int32], groups: int) -> NDArray[np.int64]:
    """Where `groups` groups of rows of these lengths, ascending, end, after a 0 for where the first begins: they have
    about as many tokens each, and one row at least."""
    tokens = round_up(lengths, _TIME_STEP)
    middles = np.cumsum(tokens) - tokens / 2
    number = np.arange(groups + 1)
    ends = np.searchsorted(middles, number * (tokens.sum() / groups))
    none_empty: NDArray[np.int64] = np.maximum.accumulate(ends - number).clip(0, len(lengths) - groups) + number
    return none_empty


def endless_batches(
    lengths: NDArray[np.int32], batch_size: int, *, seed: int, skip: int = 0
) -> Iterator[list[NDArray[np.int64]]]:
    """Epoch after epoch, from the batch number `skip` on."""
    epoch, skip = divmod(skip, batch_count(len(lengths), batch_size))
    while True:
        yield from epoch_batches(lengths, batch_size, seed=seed, epoch=epoch, skip=skip)
        epoch, skip = epoch + 1, 0


def batch_count(rows: int, batch_size: int) -> int:
    """Batches of an epoch of so many rows."""
    return -(-rows // batch_size)


def split_groups(groups: Sequence[Sequence[Example]], number: int) -> list[Sequence[Example]]:
    """The examples of a step in `number` parts of like work, or a multiple of it, each of one group; fewer where there
    are too few rows."""
    of_a_group = number if number % len(groups) else number // len(groups)
    return [part for group in groups for i in range(of_a_group) if (part := group[i::of_a_group])]


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
