"""The training loss, masked on the prompt, and the validation loss per character of code."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tinygpt.data.examples import IGNORED, Example
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.batches import Batch, collate, round_up

_VALIDATION_ROWS_AT_ONCE = 32
_LABELLED_STEP = 256


def masked_loss(model: TinyGPT, batch: Batch) -> tuple[Tensor, int]:
    """The summed cross-entropy (nats) over the labelled positions of a batch, and how many those are.

    The last MLP and the head are computed only where there is a label, their number rounded up (see `collate`).
    """
    labels = batch.labels.flatten()
    labelled = (labels != IGNORED).nonzero().squeeze(1)  # (labelled,)
    unused = round_up(len(labelled), _LABELLED_STEP) - len(labelled)
    wanted = F.pad(labelled, (0, unused))
    features = model.features(batch.ids, wanted=wanted, ngram_weights=batch.ngram_weights)  # (labelled + unused, C)
    targets = F.pad(labels[labelled], (0, unused), value=IGNORED)
    logits = model.head(features)  # (labelled + unused, V)
    return F.cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="sum"), len(labelled)


@torch.no_grad()
def validation_loss(
    model: TinyGPT,
    examples: Sequence[Example],
    poll: Callable[[], object] = lambda: None,
) -> float:
    """Nats per character of code (`<EOS>` counts as one) over all `examples`. Calls `poll` between batches."""
    was_training = model.training
    model.eval()
    nats, characters = 0.0, 0
    by_length = sorted(examples, key=lambda example: len(example.ids))
    for start in range(0, len(by_length), _VALIDATION_ROWS_AT_ONCE):
        rows = by_length[start : start + _VALIDATION_ROWS_AT_ONCE]
        loss, _ = masked_loss(model, collate(rows, model.config.context_length).to(model.device))
        nats += loss.item()
        characters += sum(row.code_characters for row in rows)
        poll()
    model.train(was_training)
    return nats / characters


def bits_per_character(nats_per_character: float) -> float:
    """The same loss in bits: comparable between models whatever their tokenizers."""
    return nats_per_character / math.log(2)
