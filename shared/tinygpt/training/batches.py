"""Which rows make a step, and how they become tensors.

Rows of like length go together, so that little of a batch is padding; the order of the batches stays random.
An epoch's batches follow from (seed, epoch) alone: a resumed run sees what the uninterrupted one would have.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tinygpt.data.examples import IGNORED, Example
from tinygpt.data.tokenizer import PAD

_BATCHES_SORTED_TOGETHER = 16
_TIME_STEP = 16


def round_up(number: int, step: int) -> int:
    """The smallest multiple of `step` that is at least `number`."""
    return -(-number // step) * step


@dataclass(frozen=True)
class Batch:
    """`ids` and `labels` are (rows, time), padded on the right to the longest row."""

    ids: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.ids.to(device), self.labels.to(device))


def epoch_batches(lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Every index once, in batches of `batch_size` (the last of a pool may be smaller)."""
    random_order = random.Random(f"{seed}/{epoch}")
    indices = list(range(len(lengths)))
    random_order.shuffle(indices)
    pool = batch_size * _BATCHES_SORTED_TOGETHER
    batches = []
    for start in range(0, len(indices), pool):
        by_length = sorted(indices[start : start + pool], key=lengths.__getitem__)
        batches += [by_length[i : i + batch_size] for i in range(0, len(by_length), batch_size)]
    random_order.shuffle(batches)
    return batches


def endless_batches(lengths: Sequence[int], batch_size: int, *, seed: int, skip: int = 0) -> Iterator[list[int]]:
    """Epoch after epoch, from the batch number `skip` on."""
    epoch = 0
    while True:
        batches = epoch_batches(lengths, batch_size, seed=seed, epoch=epoch)
        yield from batches[skip:]
        skip = max(0, skip - len(batches))
        epoch += 1


def collate(examples: Sequence[Example], context_length: int | None = None) -> Batch:
    """Pad examples on the right, inputs with `<PAD>`, labels with `IGNORED`.

    With `context_length` the time is rounded up within it: kernels are compiled and kept for every shape (oneDNN),
    so a few shapes train faster, and in half the memory, than one for every length.
    """
    longest = max(len(example.ids) for example in examples)
    if context_length is not None:
        longest = min(round_up(longest, _TIME_STEP), context_length)
    ids = torch.full((len(examples), longest), PAD, dtype=torch.long)
    labels = torch.full((len(examples), longest), IGNORED, dtype=torch.long)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        labels[row, : len(example.labels)] = torch.tensor(example.labels)
    return Batch(ids, labels)
