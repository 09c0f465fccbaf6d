"""The training loss, masked on the prompt, and the validation loss per character of code."""

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
_LABELLED_STEP = 256


def masked_loss(model: TinyGPT, batch: Batch) -> tuple[Tensor, int]:
    """The summed cross-entropy (nats) over the labelled positions of a batch, and how many those are."""
    labelled = _labelled(batch)
    features = _features(model, batch, labelled)
    return _cross_entropy(model.head(features), batch.labels, labelled), len(labelled)


def training_loss(model: TinyGPT, batch: Batch) -> tuple[Tensor, float]:
    """What a batch is learned by, and its `masked_loss` in nats: that, and the loss of every later token that the model
    foretells (`ModelConfig.future_tokens`), summed over the positions that have one, times `FUTURE_WEIGHT`."""
    labelled = _labelled(batch)
    features = _features(model, batch, labelled)
    loss = _cross_entropy(model.head(features), batch.labels, labelled)
    nats = loss.item()
    for ahead, logits in enumerate(model.future_logits(features), 1):
        later = F.pad(batch.labels[:, ahead:], (0, ahead), value=IGNORED)
        loss = loss + FUTURE_WEIGHT * _cross_entropy(logits, later, labelled)
    return loss, nats


def _labelled(batch: Batch) -> Tensor:
    """The positions, of all rows' one after the other, that have a label."""
    return (batch.labels.flatten() != IGNORED).nonzero().squeeze(1)


def _features(model: TinyGPT, batch: Batch, positions: Tensor) -> Tensor:
    """The features of these positions, their number rounded up (see `collate`), (N, C): the last MLP is computed for
    them alone."""
    unused = round_up(len(positions), _LABELLED_STEP) - len(positions)
    return model.features(
        batch.ids, labelled_positions=F.pad(positions, (0, unused)), ngram_weights=batch.ngram_weights
    )


def _cross_entropy(logits: Tensor, labels: Tensor, positions: Tensor) -> Tensor:
    """The sum over `positions` of the cross-entropy of logits (N, V), where N may be more, and labels (rows, time)."""
    targets = F.pad(labels.flatten()[positions], (0, len(logits) - len(positions)), value=IGNORED)
    return F.cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="sum")


def validation_loss(
    model: TinyGPT,
    examples: Sequence[Example],
    poll: Callable[[], object] = lambda: None,
    threads: Threads = ONE_THREAD,
) -> float:
    """Nats per character of code (`<EOS>` counts as one) over all `examples`. Calls `poll` when every thread has had a
    batch; all of them together need no more memory than one would alone."""
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
    """The same loss in bits: comparable between models whatever their tokenizers."""
    return nats_per_character / math.log(2)
