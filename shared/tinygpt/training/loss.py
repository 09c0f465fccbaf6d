"""The training loss, masked on the prompt, and the validation loss per character of code."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor

from tinygpt.data.examples import IGNORED, Example
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.batches import Batch, collate

_VALIDATION_ROWS_AT_ONCE = 32


def masked_loss(model: TinyGPT, batch: Batch) -> tuple[Tensor, int]:
    """The summed cross-entropy (nats) over the labelled positions of a batch, and how many those are.

    The head, the widest product of a small model, is computed only where there is a label.
    """
    labelled = batch.labels != IGNORED
    logits = model.head(model.features(batch.ids)[labelled])  # (labelled, V)
    labels = batch.labels[labelled]
    return F.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum"), labels.numel()


@torch.no_grad()
def validation_loss(
    model: TinyGPT,
    examples: Sequence[Example],
    autocast: Callable[[], AbstractContextManager[object]],
    poll: Callable[[], object] = lambda: None,
) -> float:
    """Nats per character of code (`<EOS>` counts as one) over all `examples`. Calls `poll` between batches."""
    was_training = model.training
    model.eval()
    nats, characters = 0.0, 0
    by_length = sorted(examples, key=lambda example: len(example.ids))
    for start in range(0, len(by_length), _VALIDATION_ROWS_AT_ONCE):
        rows = by_length[start : start + _VALIDATION_ROWS_AT_ONCE]
        with autocast():
            loss, _ = masked_loss(model, collate(rows).to(model.device))
        nats += loss.item()
        characters += sum(row.code_characters for row in rows)
        poll()
    model.train(was_training)
    return nats / characters


def bits_per_character(nats_per_character: float) -> float:
    """The same loss in bits: comparable between models whatever their tokenizers."""
    return nats_per_character / math.log(2)
