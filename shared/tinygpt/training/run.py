"""The life of a run: take steps until the budget is used, evaluate, save, report, resume.

A step itself is in `step.py`, what a run reports in `report.py`, what a checkpoint keeps in `state.py`.
"""

import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from tinygpt.contracts.errors import TrainingFailed
from tinygpt.contracts.models import BEST_CHECKPOINT, LAST_CHECKPOINT, TRAINING_ROWS
from tinygpt.contracts.runs import Progress, RunMetrics
from tinygpt.data.rows import Row
from tinygpt.model import ops
from tinygpt.training.batches import batch_count, endless_batches
from tinygpt.training.callbacks import Callback, StopReason
from tinygpt.training.config import TrainConfig
from tinygpt.training.distributed import ALONE, World
from tinygpt.training.frequent_ngrams import frequent_ngrams
from tinygpt.training.loss import validation_loss
from tinygpt.training.memory import memory_errors
from tinygpt.training.report import metrics_of, progress_of
from tinygpt.training.schedule import budget_used
from tinygpt.training.state import TrainingState
from tinygpt.training.step import take_step
from tinygpt.training.threads import Threads, threads
from tinygpt.training.token_store import TokenStore
from tinygpt.training.token_writer import prepare_tokens

_SAVE_EVERY_SECONDS = 60.0
"""A process that dies loses at most this much of a run."""
HELD_OUT_ROWS_SCORED = 512
"""An evaluation scores the first held-out rows, a random sample, so that it takes no longer for a million rows."""


@dataclass(frozen=True)
class TrainResult:
    """Where a run ended. A run that was stopped before its first evaluation has no `best` and no `metrics`."""

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

    Rows are tokenised into a temporary folder; `token_store_for` makes a store that stays. If `folder` has a `last.pt`,
    the run resumes from it: on CPU, with a budget in steps, to the same bits as if it had never been interrupted.
    Of several processes (`world`) only the first calls its callbacks and writes. All must see the same `folder`.

    Raises:
        TrainingFailed: nothing to learn from, a loss that is not a number, or out of memory; the message says what
            to do. Also if another process of the run ended, or `last.pt` is from other settings or data.
        InvalidCheckpoint: `last.pt` can't be read.
        StorageFull: no space for a checkpoint.
    """
    with memory_errors(), contextlib.ExitStack() as scratch:
        if not isinstance(data, TokenStore):
            temporary = tempfile.TemporaryDirectory(prefix="tinygpt-", ignore_cleanup_errors=True)
            data = token_store_for(config, data, Path(scratch.enter_context(temporary)))
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        listeners = _Listeners(callbacks if world.is_first else ())
        state = _start_or_resume(config, data, folder, world, listeners.poll)
        run = _TrainingRun(state, data, folder, world, listeners)
        with threads(_thread_count(config, world)) as pool:
            return run.to_end(pool)


def token_store_for(
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
        context_length=config.model.context_length,
        tokenizer=config.tokenizer,
        source_hash=source_hash,
        poll=poll,
    )


def _start_or_resume(
    config: TrainConfig, data: TokenStore, folder: Path, world: World, poll: Callable[[], object]
) -> TrainingState:
    """A new model and its optimisers, or what `last.pt` in `folder` holds of them. Raises as `train` does."""
    if (data.context_length, data.tokenizer_kind) != (config.model.context_length, config.tokenizer):
        raise TrainingFailed("Training can't start: the tokens were prepared for another context_length or tokenizer.")
    if not world.agree((asdict(replace(config, threads=None)), data.data_sha256)):
        raise TrainingFailed(
            "The processes disagree on the data or the settings: give all of them the same rows and options."
        )
    ngrams = frequent_ngrams(config.model, data.training, data.training.lengths, poll)
    state = TrainingState(config, data.tokenizer, ngrams, data.data_sha256, world)
    if (folder / LAST_CHECKPOINT).exists():
        state.resume_from(folder / LAST_CHECKPOINT)
    if not world.agree(state.step):
        raise TrainingFailed(f"The processes disagree on {LAST_CHECKPOINT}: give all of them one folder {folder}.")
    if world.is_first:
        data.keep_training_rows(folder / TRAINING_ROWS)
    return state


def _thread_count(config: TrainConfig, world: World) -> int:
    """How many threads compute gradients. One if there is dropout, because its random numbers have one generator."""
    return 1 if config.model.dropout or world.device.type != "cpu" else torch.get_num_threads()


class _Listeners:
    """The callbacks of a run, and whether one of them asked it to stop."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self._callbacks = callbacks
        self.stop_requested = False

    def notify(self, event: Callable[[Callback], None]) -> None:
        for callback in self._callbacks:
            event(callback)

    def poll(self) -> None:
        answers = [callback.poll() for callback in self._callbacks]
        self.stop_requested = self.stop_requested or any(answers)


class _TrainingRun:
    """Takes a run from where its state is to its end."""

    def __init__(
        self, state: TrainingState, data: TokenStore, folder: Path, world: World, listeners: _Listeners
    ) -> None:
        self.state = state
        self.config = state.config
        self.data = data
        self.held_out = data.held_out[:HELD_OUT_ROWS_SCORED]
        self.folder = folder
        self.world = world
        self.listeners = listeners
        self.labelled_tokens = 0
        self.started_at = self.saved_at = time.monotonic()

    def to_end(self, pool: Threads) -> TrainResult:
        state, rows, size = self.state, self.data.training, self.config.batch_size
        batches = endless_batches(rows.lengths, size, seed=self.config.seed, skip=state.step)
        steps_of_an_epoch = batch_count(len(rows), size)
        state.model.train()
        self.listeners.notify(lambda callback: callback.on_start(self.progress()))
        ops.warm(state.model.head.weight.dtype, state.model.device, self.listeners.poll)

        reason, used = self._decide()
        while reason is None:
            groups = self.world.share([group.tolist() for group in next(batches)])
            step = take_step(
                state,
                [[rows[i] for i in group] for group in groups],
                epoch=state.step // steps_of_an_epoch,
                budget_used=used,
                threads=pool,
                world=self.world,
            )
            self.labelled_tokens += step.labelled_tokens
            if self.world.is_first:
                self._after_step(pool)
            reason, used = self._decide()

        if self.world.is_first:
            if reason is not StopReason.STOP_REQUESTED and state.evaluated_at != state.step:
                self._evaluate(pool)  # the time ran out during the last step
            else:
                self._save_last()
        ended = reason
        self.listeners.notify(lambda callback: callback.on_end(self.progress(), ended))
        metrics = metrics_of(state, self.data, len(self.held_out), self.elapsed, reason)
        return TrainResult(self.folder / BEST_CHECKPOINT, reason, state.step, metrics)

    # -- the budget

    @property
    def elapsed(self) -> float:
        """Seconds of training, those of interrupted processes included."""
        return self.state.seconds_before + time.monotonic() - self.started_at

    def _decide(self) -> tuple[StopReason | None, float]:
        """Why to stop, if at all, and the share of the budget used. The first process decides, because clocks and
        Ctrl-C differ between processes."""
        used = budget_used(self.config, self.state.step, self.elapsed)
        return self.world.from_first((self._reason_to_stop(), used))

    def _reason_to_stop(self) -> StopReason | None:
        if self.listeners.stop_requested:
            return StopReason.STOP_REQUESTED
        if self.state.evaluations_without_gain >= self.config.patience:
            return StopReason.PATIENCE
        if self.config.max_steps is not None and self.state.step >= self.config.max_steps:
            return StopReason.MAX_STEPS
        if self.config.max_seconds is not None and self.elapsed >= self.config.max_seconds:
            return StopReason.MAX_SECONDS
        return None

    # -- between steps

    def _after_step(self, pool: Threads) -> None:
        """Report, poll, then evaluate or save if that is due."""
        self.listeners.notify(lambda callback: callback.on_step(self.progress()))
        self.listeners.poll()
        next_evaluation = (self.state.evaluations_done + 1) / self.config.evaluations
        if budget_used(self.config, self.state.step, self.elapsed) >= next_evaluation:
            self._evaluate(pool)
        elif time.monotonic() - self.saved_at >= _SAVE_EVERY_SECONDS:
            self._save_last()

    def _evaluate(self, pool: Threads) -> None:
        """Score the held-out rows, save `best.pt` if no score was lower, and `last.pt` in any case."""
        state = self.state
        state.validation_loss = validation_loss(state.model, self.held_out, self.listeners.poll, pool)
        if not math.isfinite(state.validation_loss):
            raise TrainingFailed(
                f"The validation loss became {state.validation_loss} at step {state.step}: train with a lower "
                f"learning_rate (now {self.config.learning_rate:g})."
            )
        state.evaluations_done += 1
        state.evaluated_at = state.step
        if state.best_validation_loss is None or state.validation_loss < state.best_validation_loss:
            state.best_validation_loss = state.validation_loss
            state.evaluations_without_gain = 0
            self.listeners.notify(lambda callback: callback.before_write())
            state.save_best(self.folder, self.elapsed)
        elif budget_used(self.config, state.step, self.elapsed) > self.config.decay_from:
            state.evaluations_without_gain += 1  # before the decay, a missing gain says little
        self._save_last()
        self.listeners.notify(lambda callback: callback.on_evaluation(self.progress()))

    def _save_last(self) -> None:
        self.listeners.notify(lambda callback: callback.before_write())
        self.state.save_last(self.folder, self.elapsed)
        self.saved_at = time.monotonic()

    def progress(self) -> Progress:
        elapsed = self.elapsed
        here = elapsed - self.state.seconds_before
        speed = self.labelled_tokens / here if here > 0 and self.labelled_tokens else None
        return progress_of(self.state, elapsed, speed)
