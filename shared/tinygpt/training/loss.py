"""The training loss, over labelled positions, and the validation loss, per character of code."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from tinygpt.data.examples import IGNORED, Example
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.batches import Batch, collate, round_up
from tinygpt.training.threads import ONE_THREAD, Threads

FUTURE_WEIGHT = 0.3
"""Weight of each later token's loss, relative to the next token's."""
_VALIDATION_ROWS_AT_ONCE = 32
_POSITIONS_MULTIPLE = 256
"""The number of labelled positions is rounded up to it, for few shapes (see `collate`)."""


def masked_loss(model: TinyGPT, batch: Batch) -> tuple[Tensor, int]:
    """The cross-entropy summed over a batch's labelled positions, in nats, and how many there are."""
    labelled = _labelled_positions(batch)
    features = _features(model, batch, labelled)
    return _cross_entropy(model.head(features), batch.labels, labelled), len(labelled)


def training_loss(model: TinyGPT, batch: Batch) -> tuple[Tensor, float]:
    """The loss to differentiate, and its part that is `masked_loss`, in nats.

    The rest is the loss of the later tokens that the model learns to predict (`ModelConfig.future_tokens`), summed over
    the labelled positions that have such a token, times `FUTURE_WEIGHT`.
    """
    labelled = _labelled_positions(batch)
    features = _features(model, batch, labelled)
    loss = _cross_entropy(model.head(features), batch.labels, labelled)
    nats = loss.item()
    for ahead, logits in enumerate(model.future_logits(features), 1):
        later_labels = F.pad(batch.labels[:, ahead:], (0, ahead), value=IGNORED)
        loss = loss + FUTURE_WEIGHT * _cross_entropy(logits, later_labels, labelled)
    return loss, nats


def _labelled_positions(batch: Batch) -> Tensor:
    """Indices into the flattened batch of the positions that have a label: int64 (N,)."""
    return (batch.labels.flatten() != IGNORED).nonzero().squeeze(1)


def _features(model: TinyGPT, batch: Batch, positions: Tensor) -> Tensor:
    """Features of these positions alone, and of position 0 as often as it takes to round their number up: (N, C)."""
    unused = round_up(len(positions), _POSITIONS_MULTIPLE) - len(positions)
    return model.features(
        batch.ids, labelled_positions=F.pad(positions, (0, unused)), ngram_weights=batch.ngram_weights
    )


def _cross_entropy(logits: Tensor, labels: Tensor, positions: Tensor) -> Tensor:
    """Cross-entropy summed over `positions`, of logits (N, V) and labels (rows, time). Logits past the last position
    are ignored."""
    targets = F.pad(labels.flatten()[positions], (0, len(logits) - len(positions)), value=IGNORED)
    return F.cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="sum")


def validation_loss(
    model: TinyGPT,
    examples: Sequence[Example],
    poll: Callable[[], object] = lambda: None,
    threads: Threads = ONE_THREAD,
) -> float:
    """Nats per character of code over all `examples`. `<EOS>` counts as a character.

    Calls `poll` after each round of batches, one per thread. All threads together need the memory that one would.
    """
    was_training = model.training
    model.eval()
    by_length = sorted(examples, key=lambda example: len(example.ids))
    size = max(1, _VALIDATION_ROWS_AT_ONCE // threads.number)
    batches = [by_length[start : start + size] for start in range(0, len(by_length), size)]
    nats = 0.0
    for start in range(0, len(batches), threads.number):
        nats += sum(threads.map(partial(_nats, model), batches[start:][: threads.number]))
        poll()
    model.train(was_training)
    return nats / sum(example.code_characters for example in examples)


@torch.no_grad()
def _nats(model: TinyGPT, rows: Sequence[Example]) -> float:
    loss, _ = masked_loss(model, collate(rows, model.config.context_length).to(model.device))
    return loss.item()


def bits_per_character(nats_per_character: float) -> float:
    """The same loss in bits. It can be compared between models with different tokenizers."""
    return nats_per_character / math.log(2)
