"""One step of training: rows -> batch -> forward pass -> loss -> gradients -> optimiser.

`take_step` is the whole of it. A step's rows come in groups (`batches.py`), each thread computes the gradient of some
of them (`threads.py`), and the optimiser adds it to the weights (`optimizer.py`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from tinygpt.contracts.errors import TrainingFailed
from tinygpt.data.examples import IGNORED, Example
from tinygpt.training.batches import Batch, collate, drop_ngrams, ngram_dropout, split_groups
from tinygpt.training.config import TrainConfig
from tinygpt.training.distributed import ALONE, World
from tinygpt.training.loss import training_loss
from tinygpt.training.schedule import learning_rate_scale
from tinygpt.training.state import TrainingState
from tinygpt.training.threads import ONE_THREAD, Threads, gradient_of, set_gradients


@dataclass(frozen=True)
class StepResult:
    """What a step reports, over the rows of all processes."""

    loss: float
    """Before the step, in nats per character."""
    labelled_tokens: int


def take_step(
    state: TrainingState,
    groups: Sequence[Sequence[Example]],
    *,
    epoch: int,
    budget_used: float,
    threads: Threads = ONE_THREAD,
    world: World = ALONE,
) -> StepResult:
    """Change the weights by the gradient of the mean loss over the step's labels.

    `groups` are this process's rows. How rows are divided into groups, threads and processes makes no difference
    beyond rounding, because each part's loss is divided by the labels of the whole step. `epoch` and `budget_used`
    (0 to 1) set the dropout of n-grams and the learning rate.

    Raises:
        TrainingFailed: the loss is not a finite number.
    """
    config, model = state.config, state.model
    _seed_dropout(config.seed, state.step, world.rank)
    rows = list(chain.from_iterable(groups))
    (labels,) = world.sum(sum(_label_count(row, config) for row in rows))

    def forward_and_backward(part: Sequence[Example]) -> tuple[list[Tensor], float]:
        """The gradient that these rows add to the step's, and their summed loss in nats."""
        batch = _batch(part, config, epoch).to(model.device)
        loss, nats = training_loss(model, batch)
        return gradient_of(loss / labels, state.weights), nats

    parts = split_groups(groups, max(len(groups), threads.number))
    results = threads.map(forward_and_backward, parts)

    nats, characters = world.sum(sum(nats for _, nats in results), sum(_character_count(row, state) for row in rows))
    if not math.isfinite(nats):
        raise TrainingFailed(
            f"The loss became {nats} at step {state.step}: train with a lower learning_rate "
            f"(now {config.learning_rate:g})."
        )
    if results:  # one of several processes may have no rows
        set_gradients(state.weights, [gradients for gradients, _ in results])
    world.sum_gradients(model)
    state.optimizer.step(learning_rate_scale(config, state.step, budget_used), threads)

    state.step += 1
    state.recent_losses.append(nats / characters)
    return StepResult(loss=nats / characters, labelled_tokens=round(labels))


def _batch(rows: Sequence[Example], config: TrainConfig, epoch: int) -> Batch:
    batch = collate(rows, config.model.context_length, masked=config.masked)
    if config.model.ngrams:
        batch = drop_ngrams(batch, ngram_dropout(epoch, config.ngram_dropout), config.seed, epoch)
    return batch


def _label_count(row: Example, config: TrainConfig) -> int:
    return len(row.ids) - (row.labels.count(IGNORED) if config.masked else 0)


def _character_count(row: Example, state: TrainingState) -> int:
    """Characters that the row's reported loss is divided by: those of the code, and of the prompt if it is learned."""
    if state.config.masked:
        return row.code_characters
    return state.tokenizer.character_count([*row.ids[1:], row.labels[-1]])


def _seed_dropout(seed: int, step: int, rank: int) -> None:
    """Make dropout depend on these alone, so that a resumed run draws what the uninterrupted one would have."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0]))
