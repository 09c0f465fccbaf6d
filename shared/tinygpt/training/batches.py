"""Which rows make a step, and how they become tensors.

A step learns from two groups of rows. The rows of a group have similar lengths, so that little of it is padding. The
two groups are drawn independently, so that few steps see one length alone. They have about the same number of tokens,
so that two threads with a group each finish together. Exceptions are an epoch's last rows and groups of one or two.

The steps of an epoch depend on (seed, epoch) alone: a resumed run sees what the uninterrupted one would have seen.
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

GROUPS_PER_STEP = 2
_BATCHES_PER_POOL = 64
"""Rows are sorted by length in pools of this many batches, not all at once."""
_LENGTH_MULTIPLE = 16
"""Batches are padded to a multiple of it, so that there are few shapes (see `collate`)."""


Number = TypeVar("Number", int, NDArray[np.int32])


def round_up(number: Number, multiple: int) -> Number:
    """The smallest multiple of `multiple` that is at least `number`."""
    return -(-number // multiple) * multiple


# -- which rows


def endless_batches(
    lengths: NDArray[np.int32], batch_size: int, *, seed: int, skip: int = 0
) -> Iterator[list[NDArray[np.int64]]]:
    """`epoch_batches` of one epoch after another, from batch number `skip` on."""
    epoch, skip = divmod(skip, batch_count(len(lengths), batch_size))
    while True:
        yield from epoch_batches(lengths, batch_size, seed=seed, epoch=epoch, skip=skip)
        epoch, skip = epoch + 1, 0


def epoch_batches(
    lengths: NDArray[np.int32], batch_size: int, *, seed: int, epoch: int, skip: int = 0
) -> Iterator[list[NDArray[np.int64]]]:
    """Batches of row numbers, which together have every row once, from batch number `skip` on.

    A batch has `batch_size` rows on average, in `GROUPS_PER_STEP` groups; in one group if `batch_size` is 1, and
    sometimes in an epoch's last batch. A pool is sorted only when one of its groups is drawn, so that an epoch starts
    at once.
    """
    random = np.random.PCG64([seed, epoch])
    order = permutation(random, len(lengths))
    pool_size = batch_size * _BATCHES_PER_POOL
    groups_per_pool = _group_count(pool_size, batch_size)
    groups_of_last_pool = _group_count(len(order) % pool_size, batch_size)
    groups_per_batch = min(GROUPS_PER_STEP, batch_size)
    shuffled = permutation(random, len(order) // pool_size * groups_per_pool + groups_of_last_pool)

    def rows_of(group: int) -> NDArray[np.int64]:
        pool, place = divmod(group, groups_per_pool)
        rows = order[pool * pool_size :][:pool_size]
        by_length = rows[np.argsort(lengths[rows], kind="stable")]
        ends = _group_ends(lengths[by_length], _group_count(len(rows), batch_size))
        return by_length[ends[place] : ends[place + 1]]

    for start in range(skip * groups_per_batch, len(shuffled), groups_per_batch):
        yield [rows_of(group) for group in shuffled[start:][:groups_per_batch].tolist()]


def batch_count(rows: int, batch_size: int) -> int:
    """Batches in an epoch of this many rows."""
    return -(-rows // batch_size)


def _group_count(rows: int, batch_size: int) -> int:
    return min(rows, GROUPS_PER_STEP * batch_count(rows, batch_size))


def _group_ends(lengths: NDArray[np.int32], groups: int) -> NDArray[np.int64]:
    """Where to cut rows of these ascending lengths into groups of about the same number of tokens: (groups + 1,).

    The first end is 0, where the first group begins. Every group has at least one row.
    """
    tokens = round_up(lengths, _LENGTH_MULTIPLE)
    middles = np.cumsum(tokens) - tokens / 2
    number = np.arange(groups + 1)
    ends = np.searchsorted(middles, number * (tokens.sum() / groups))
    none_empty: NDArray[np.int64] = np.maximum.accumulate(ends - number).clip(0, len(lengths) - groups) + number
    return none_empty


def permutation(random: np.random.PCG64, size: int) -> NDArray[np.int64]:
    """0 to `size` - 1 in random order, from the generator's raw stream.

    numpy promises to keep that stream between versions (NEP 19), unlike its own `permutation`.
    """
    return np.argsort(random.random_raw(size), kind="stable")


def split_groups(groups: Sequence[Sequence[Example]], number: int) -> list[Sequence[Example]]:
    """The examples of a step in `number` parts of similar work, each from one group.

    More parts, a multiple of the groups, if `number` is not one. Fewer if there are too few rows.
    """
    per_group = number if number % len(groups) else number // len(groups)
    return [part for group in groups for i in range(per_group) if (part := group[i::per_group])]


# -- tensors


@dataclass(frozen=True)
class Batch:
    """`ids` and `labels` are int64 (rows, time), padded on the right to the longest row."""

    ids: Tensor
    labels: Tensor
    ngram_weights: Tensor | None = None
    """fp32 (rows, time): factors of each position's n-grams, 0 where they are dropped. None: 1 everywhere."""

    def to(self, device: torch.device) -> "Batch":
        weights = self.ngram_weights
        return Batch(self.ids.to(device), self.labels.to(device), weights.to(device) if weights is not None else None)


def collate(examples: Sequence[Example], context_length: int | None = None, *, masked: bool = True) -> Batch:
    """Pad examples on the right, inputs with `<PAD>`, labels with `IGNORED`.

    With `context_length` the time is rounded up within it. oneDNN compiles and keeps kernels for every shape, so a few
    shapes train faster, and in half the memory, than one for every length. Without `masked` the prompt is labelled too.
    """
    longest = max(len(example.ids) for example in examples)
    if context_length is not None:
        longest = min(round_up(longest, _LENGTH_MULTIPLE), context_length)
    ids = np.full((len(examples), longest), PAD, dtype=np.int64)
    labels = np.full((len(examples), longest), IGNORED, dtype=np.int64)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = example.ids
        labels[row, : len(example.labels)] = example.labels
        if not masked:
            labels[row, : len(example.ids) - 1] = example.ids[1:]
    return Batch(torch.from_numpy(ids), torch.from_numpy(labels))


def ngram_dropout(epoch: int, max_share: float) -> float:
    """The probability that a position's n-grams are dropped, at most `max_share`.

    0 in the first two epochs, 1/4 in the third, 2/5 in the fourth, and so on: n-grams as long as words soon memorise
    rows that they see again.
    """
    return min(max_share, max(0, epoch - 1) / (epoch + 2))


def drop_ngrams(batch: Batch, probability: float, seed: int, epoch: int) -> Batch:
    """Drop all n-grams of random positions and scale the others up to compensate (word dropout: Iyyer et al., 2015).

    The positions depend on `seed`, `epoch` and the row alone, not on the rows beside it.
    """
    if probability == 0:
        return batch
    weights = torch.zeros(batch.ids.shape)
    for row, ids in enumerate(batch.ids.numpy()):
        random = np.random.Generator(np.random.PCG64([seed, epoch, crc32(ids[ids != PAD].tobytes())]))
        weights[row] = torch.from_numpy(random.random(len(ids)) >= probability)
    return replace(batch, ngram_weights=weights / (1 - probability))
