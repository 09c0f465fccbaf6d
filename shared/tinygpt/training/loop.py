"""The life of a run: steps, evaluations, checkpoints, and an exact resumption."""

import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tinygpt.contracts.errors import TrainingFailed
from tinygpt.contracts.models import BEST_CHECKPOINT, LAST_CHECKPOINT, TRAINING_ROWS
from tinygpt.contracts.runs import Progress, RunMetrics
from tinygpt.data.examples import IGNORED, Example
from tinygpt.data.rows import Row
from tinygpt.model import ops
from tinygpt.training.batches import batch_count, collate, drop_ngrams, endless_batches, in_parts, ngram_dropout
from tinygpt.training.callbacks import Callback, StopReason
from tinygpt.training.config import TrainConfig
from tinygpt.training.distributed import ALONE, World
from tinygpt.training.frequent_ngrams import frequent_ngrams
from tinygpt.training.loss import bits_per_character, training_loss, validation_loss
from tinygpt.training.memory import memory_errors
from tinygpt.training.schedule import budget_used, learning_rate_scale
from tinygpt.training.state import TrainingState
from tinygpt.training.threads import ONE_THREAD, gradient_of, set_gradients, threads
from tinygpt.training.token_store import TokenStore, prepare_tokens

_SAVE_EVERY_SECONDS = 60.0
"""At most this much of a run is lost with its process."""
HELD_OUT_ROWS_SCORED = 512
"""An evaluation takes as long for a million rows as for five thousand: the first held-out rows are a random sample."""


@dataclass(frozen=True)
class TrainResult:
    """Where a run ended. A run that was told to stop before its first evaluation has no `best` and no `metrics`."""

    best: Path
    """The checkpoint with the lowest validation loss."""
    reason: StopReason
    steps: int
    metrics: RunMetrics | None


def train(
    config: TrainConfig,
    data: Sequence[Row] | TokenStore,
    callbacks: Sequence[Callback] = (),
    *,
    folder: Path,
    world: World = ALONE,
) -> TrainResult:
    """Train a model on `data` and leave `best.pt`, `last.pt` and `training_rows.jsonl` in `folder`.

    Rows are tokenised into a folder that is gone after the run; for a store that stays, see `store_for`.
    A `last.pt` found there is gone on from: on CPU and with a budget in steps, bit for bit as if never interrupted.
    Of several processes (`world`), only the first calls its callbacks and writes; all must see the same `folder`.

    Raises:
        TrainingFailed: nothing to learn from, a loss that is not a number, or out of memory; the message says what
            to do. Also: another process of the run ended, or the `last.pt` in `folder` is of other settings or data.
        InvalidCheckpoint: that `last.pt` can't be read.
        StorageFull: no space for a checkpoint.
    """
    with memory_errors(), contextlib.ExitStack() as scratch:
        if not isinstance(data, TokenStore):
            temporary = tempfile.TemporaryDirectory(prefix="tinygpt-", ignore_cleanup_errors=True)
            data = store_for(config, data, Path(scratch.enter_context(temporary)))
        run = _Run(config, data, callbacks, folder, world)
        with threads(_thread_count(config, world)) as run.threads:
            return run.to_end()


def store_for(
    config: TrainConfig,
    source: Path | Sequence[Row],
    folder: Path,
    *,
    source_hash: str | None = None,
    poll: Callable[[], object] = lambda: None,
) -> TokenStore:
    """The store under `folder` that a run of `config` on `source` learns from; see `prepare_tokens`."""
    return prepare_tokens(
        source,
        folder,
        held_out_share=config.held_out_share,
        context_length=config.model.context_length,
        tokenizer=config.tokenizer,
        source_hash=source_hash,
        poll=poll,
    )


@dataclass(frozen=True)
class _Part:
    """What some of a step's examples add to it: to its gradient, and to its summed loss in nats."""

    gradients: list[Tensor]
    nats: float


class _Run:
    def __init__(
        self, config: TrainConfig, data: TokenStore, callbacks: Sequence[Callback], folder: Path, world: World
    ) -> None:
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.callbacks = callbacks if world.is_first else ()
        self.folder = folder
        self.world = world
        self.stop_requested = False

        wanted = (config.held_out_share, config.model.context_length, config.tokenizer)
        if (data.held_out_share, data.context_length, data.tokenizer_kind) != wanted:
            raise TrainingFailed(
                "Training can't start: "
                "the tokens were prepared for another held_out_share, context_length or tokenizer."
            )
        self.data = data
        self.training = data.training
        self.held_out = data.held_out[:HELD_OUT_ROWS_SCORED]

        if not world.agree((asdict(replace(config, threads=None)), data.data_sha256)):
            raise TrainingFailed(
                "The processes disagree on the data or the settings: give all of them the same rows and options."
            )
        ngrams = frequent_ngrams(config.model, self.training, self.training.lengths, self._poll)
        self.state = TrainingState(config, data.tokenizer, ngrams, data.data_sha256, world)
        self.config = self.state.config
        if (folder / LAST_CHECKPOINT).exists():
            self.state.go_on_from(folder / LAST_CHECKPOINT)
        if not world.agree(self.state.step):
            raise TrainingFailed(f"The processes disagree on {LAST_CHECKPOINT}: give all of them one folder {folder}.")
        if world.is_first:
            data.keep_training_rows(folder / TRAINING_ROWS)
        self.threads = ONE_THREAD
        self.weights = list(self.state.model.parameters())
        self.batches_of_an_epoch = batch_count(len(self.training), self.config.batch_size)
        self.labelled_tokens = 0
        self.started_at = self.saved_at = time.monotonic()

    # -- the loop

    def to_end(self) -> TrainResult:
        state = self.state
        batches = endless_batches(self.training.lengths, self.config.batch_size, seed=self.config.seed, skip=state.step)
        state.model.train()
        self._tell(lambda callback: callback.on_start(self.progress()))
        ops.warm(state.model.head.weight.dtype, state.model.device, self._poll)
        reason, used = self._decide()
        while reason is None:
            groups = self.world.share([group.tolist() for group in next(batches)])
            self._take_step([[self.training[i] for i in group] for group in groups], used)
            if self.world.is_first:
                self._after_step()
            reason, used = self._decide()
        if self.world.is_first:
            if reason is not StopReason.STOP_REQUESTED and state.evaluated_at != state.step:
                self._evaluate()  # the time ran out after the last step was looked at
            self._save_last()
        ended = reason
        self._tell(lambda callback: callback.on_end(self.progress(), ended))
        return TrainResult(self.folder / BEST_CHECKPOINT, reason, state.step, self._metrics(reason))

    def _decide(self) -> tuple[StopReason | None, float]:
        """Why to stop, if at all, and the share of the budget that is behind: the first process's view, for clocks and
        Ctrl-C differ between processes."""
        used = budget_used(self.config, self.state.step, self.elapsed)
        return self.world.from_first((self._reason_to_stop(), used))

    def _reason_to_stop(self) -> StopReason | None:
        if self.stop_requested:
            return StopReason.STOP_REQUESTED
        if self.state.evaluations_without_gain >= self.config.patience:
            return StopReason.PATIENCE
        if self.config.max_steps is not None and self.state.step >= self.config.max_steps:
            return StopReason.MAX_STEPS
        if self.config.max_seconds is not None and self.elapsed >= self.config.max_seconds:
            return StopReason.MAX_SECONDS
        return None

    def _take_step(self, groups: Sequence[Sequence[Example]], used: float) -> None:
        """One optimiser step on the groups of all processes, `groups` in this one.

        Groups, micro-batches and processes are added up as if they were one batch.
        """
        state = self.state
        _seed(self.config.seed, state.step, self.world.rank)
        examples = list(chain.from_iterable(groups))
        (labels,) = self.world.sum(sum(map(self._label_count, examples)))
        micro_batches = in_parts(groups, self.config.micro_batches * max(len(groups), self.threads.number))
        parts = self.threads.map(partial(self._gradient, labels), micro_batches)
        nats, characters = self.world.sum(
            sum(part.nats for part in parts), sum(map(self._learned_characters, examples))
        )
        if not math.isfinite(nats):
            raise TrainingFailed(
                f"The loss became {nats} at step {state.step}: train with a lower learning_rate "
                f"(now {self.config.learning_rate:g})."
            )
        if parts:  # of several processes, one may have no rows
            set_gradients(self.weights, [part.gradients for part in parts])
        self.world.sum_gradients(state.model)
        state.optimizer.step(learning_rate_scale(self.config, state.step, used), self.threads)
        state.step += 1
        state.recent_losses.append(nats / characters)
        self.labelled_tokens += round(labels)

    def _gradient(self, step_labels: float, examples: Sequence[Example]) -> "_Part":
        """What these examples add to a step that learns by the mean loss of its `step_labels` labels."""
        config = self.config
        batch = collate(examples, config.model.context_length, masked=config.masked)
        if config.model.ngrams:
            epoch = self.state.step // self.batches_of_an_epoch
            batch = drop_ngrams(batch, ngram_dropout(epoch, config.ngram_dropout), config.seed, epoch)
        loss, nats = training_loss(self.state.model, batch.to(self.world.device), config.future_weight)
        return _Part(gradient_of(loss / step_labels, self.weights), nats)

    def _label_count(self, example: Example) -> int:
        return len(example.ids) - (example.labels.count(IGNORED) if self.config.masked else 0)

    def _learned_characters(self, example: Example) -> int:
        """What the example's loss is divided by for the report: `code_characters`, or with the prompt's."""
        if self.config.masked:
            return example.code_characters
        return self.state.tokenizer.character_count([*example.ids[1:], example.labels[-1]])

    def _after_step(self) -> None:
        """Report, listen, and evaluate or save when that is due."""
        self._tell(lambda callback: callback.on_step(self.progress()))
        self._poll()
        if budget_used(self.config, self.state.step, self.elapsed) >= self._next_evaluation:
            self._evaluate()
        elif time.monotonic() - self.saved_at >= _SAVE_EVERY_SECONDS:
            self._save_last()

    def _evaluate(self) -> None:
        """Score the held-out rows; keep the model if none was better, and where to go on from in any case."""
        state = self.state
        state.validation = validation_loss(state.model, self.held_out, self._poll, self.threads)
        if not math.isfinite(state.validation):
            raise TrainingFailed(
                f"The validation loss became {state.validation} at step {state.step}: train with a lower learning_rate "
                f"(now {self.config.learning_rate:g})."
            )
        state.evaluations_done += 1
        state.evaluated_at = state.step
        if state.best is None or state.validation < state.best:
            state.best = state.validation
            state.evaluations_without_gain = 0
            self._tell(lambda callback: callback.before_write())
            state.save_best(self.folder, self.elapsed)
        elif budget_used(self.config, state.step, self.elapsed) > self.config.decay_from:
            state.evaluations_without_gain += 1  # before the decay no gain says little
        self._save_last()
        self._tell(lambda callback: callback.on_evaluation(self.progress()))

    @property
    def _next_evaluation(self) -> float:
        """The share of the budget at which to evaluate next."""
        return (self.state.evaluations_done + 1) / self.config.evaluations

    def _save_last(self) -> None:
        self._tell(lambda callback: callback.before_write())
        self.state.save_last(self.folder, self.elapsed)
        self.saved_at = time.monotonic()

    def _poll(self) -> None:
        answers = [callback.poll() for callback in self.callbacks]
        self.stop_requested = self.stop_requested or any(answers)

    def _tell(self, event: Callable[[Callback], None]) -> None:
        for callback in self.callbacks:
            event(callback)

    # -- what it reports

    @property
    def elapsed(self) -> float:
        return self.state.seconds_before + time.monotonic() - self.started_at

    def progress(self) -> Progress:
        state = self.state
        elapsed = self.elapsed
        used = budget_used(self.config, state.step, elapsed)
        here = elapsed - state.seconds_before
        losses = state.recent_losses
        return Progress(
            step=state.step,
            max_steps=self.config.max_steps,
            elapsed_seconds=round(elapsed, 3),
            seconds_left=round(elapsed / used - elapsed, 1) if used > 0 else None,
            train_loss=_rounded(sum(losses) / len(losses)) if losses else None,
            validation_loss=_rounded(state.validation),
            best_validation_loss=_rounded(state.best),
            tokens_per_second=round(self.labelled_tokens / here, 1) if here > 0 and self.labelled_tokens else None,
        )

    def _metrics(self, reason: StopReason) -> RunMetrics | None:
        state = self.state
        if state.best is None:
            return None
        return RunMetrics(
            steps=state.step,
            seconds=round(self.elapsed, 2),
            validation_loss=state.best,
            bits_per_character=bits_per_character(state.best),
            parameters=state.model.parameter_count,
            training_rows=len(self.training),
            validation_rows=len(self.held_out),
            rows_cut=self.data.rows_cut,
            rows_left_out=self.data.rows_left_out,
            stopped_by=reason.value,
        )


def _thread_count(config: TrainConfig, world: World) -> int:
    """How many threads take rows of their own. With dropout one does: its random numbers come from one generator."""
    random = config.model.dropout or config.model.attention_dropout
    return 1 if random or world.device.type != "cpu" else torch.get_num_threads()


def _seed(*numbers: int) -> None:
    """Let the random numbers of what follows (dropout's) depend on these alone."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
