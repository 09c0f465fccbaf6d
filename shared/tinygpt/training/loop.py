"""The life of a run inside one process: steps, evaluations, checkpoints, and an exact resumption."""

import contextlib
import math
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tinygpt.contracts.errors import TrainingFailed
from tinygpt.contracts.models import BEST_CHECKPOINT, LAST_CHECKPOINT, TRAINING_ROWS
from tinygpt.contracts.runs import Progress, RunMetrics
from tinygpt.data.examples import Example
from tinygpt.data.rows import Row
from tinygpt.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.batches import collate, endless_batches
from tinygpt.training.callbacks import Callback, StopReason
from tinygpt.training.config import TrainConfig
from tinygpt.training.loss import bits_per_character, masked_loss, validation_loss
from tinygpt.training.optimizer import Optimizers
from tinygpt.training.precision import to_precision
from tinygpt.training.schedule import budget_used, learning_rate_scale
from tinygpt.training.token_store import TokenStore, prepare_tokens

_RECENT_STEPS = 50
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
    config: TrainConfig, data: Sequence[Row] | TokenStore, callbacks: Sequence[Callback] = (), *, folder: Path
) -> TrainResult:
    """Train a model on `data` and leave `best.pt`, `last.pt` and `training_rows.jsonl` in `folder`.

    Rows are tokenised into a folder that is gone after the run; for a store that stays, see `store_for`.
    A `last.pt` found there is gone on from: on CPU and with a budget in steps, bit for bit as if never interrupted.

    Raises:
        TrainingFailed: nothing to learn from, a loss that is not a number, or out of memory; the message says what
            to do.
        InvalidCheckpoint: the `last.pt` in `folder` can't be read, or is of another configuration or data.
        StorageFull: no space for a checkpoint.
    """
    with _memory_errors(), contextlib.ExitStack() as scratch:
        if not isinstance(data, TokenStore):
            temporary = tempfile.TemporaryDirectory(prefix="tinygpt-", ignore_cleanup_errors=True)
            data = store_for(config, data, Path(scratch.enter_context(temporary)))
        try:
            run = _Run(config, data, callbacks, folder)
        except ValueError as error:
            raise TrainingFailed(f"Training can't start: {error}.") from error
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


class _Run:
    """The state that a step changes, and what is fixed around it."""

    def __init__(self, config: TrainConfig, data: TokenStore, callbacks: Sequence[Callback], folder: Path) -> None:
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.callbacks = callbacks
        self.folder = folder
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

        wanted = (config.held_out_share, config.model.context_length, config.tokenizer)
        if (data.held_out_share, data.context_length, data.tokenizer_kind) != wanted:
            raise ValueError("the tokens were prepared for another held_out_share, context_length or tokenizer")
        self.data_hash = data.data_sha256
        self.tokenizer = data.tokenizer
        self.config = replace(config, model=replace(config.model, vocab_size=self.tokenizer.vocab_size))
        self.training = data.training
        self.held_out = data.held_out[:HELD_OUT_ROWS_SCORED]

        self.model = to_precision(TinyGPT(self.config.model).to(self.device), self.config.precision)
        self.optimizer = Optimizers(self.model, self.config)
        self.step = 0
        self.elapsed_before = 0.0
        self.evaluations_done = 0
        self.evaluations_without_gain = 0
        self.validation: float | None = None
        self.best: float | None = None
        self.recent_losses: deque[float] = deque(maxlen=_RECENT_STEPS)
        self.labelled_tokens = 0
        self.stop_requested = False
        if (folder / LAST_CHECKPOINT).exists():
            self._resume(folder / LAST_CHECKPOINT)
        data.keep_training_rows(folder / TRAINING_ROWS)
        self.started_at = self.saved_at = time.monotonic()

    # -- the loop

    def to_end(self) -> TrainResult:
        batches = endless_batches(self.training.lengths, self.config.batch_size, seed=self.config.seed, skip=self.step)
        self.model.train()
        self._tell(lambda callback: callback.on_start(self.progress()))
        while (reason := self._reason_to_stop()) is None:
            self._take_step([self.training[i] for i in next(batches).tolist()])
            self._tell(lambda callback: callback.on_step(self.progress()))
            self._poll()
            if budget_used(self.config, self.step, self.elapsed) >= self._next_evaluation:
                self._evaluate()
            elif time.monotonic() - self.saved_at >= _SAVE_EVERY_SECONDS:
                self._save(LAST_CHECKPOINT)
        if reason is not StopReason.STOP_REQUESTED and self.evaluations_done == 0:
            self._evaluate()
        self._save(LAST_CHECKPOINT)
        self._tell(lambda callback: callback.on_end(self.progress(), reason))
        return TrainResult(self.folder / BEST_CHECKPOINT, reason, self.step, self._metrics(reason))

    def _reason_to_stop(self) -> StopReason | None:
        if self.stop_requested:
            return StopReason.STOP_REQUESTED
        if self.evaluations_without_gain >= self.config.patience:
            return StopReason.PATIENCE
        if self.config.max_steps is not None and self.step >= self.config.max_steps:
            return StopReason.MAX_STEPS
        if self.config.max_seconds is not None and self.elapsed >= self.config.max_seconds:
            return StopReason.MAX_SECONDS
        return None

    def _take_step(self, examples: list[Example]) -> None:
        """One optimiser step. Micro-batches are weighted by their labelled tokens, as if they were one batch."""
        used = budget_used(self.config, self.step, self.elapsed)
        labelled = sum(example.code_characters for example in examples)
        part = math.ceil(len(examples) / self.config.micro_batches)
        total = 0.0
        for start in range(0, len(examples), part):
            batch = collate(examples[start : start + part], self.config.model.context_length).to(self.device)
            loss, _ = masked_loss(self.model, batch)
            (loss / labelled).backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        if not math.isfinite(total):
            raise TrainingFailed(
                f"The loss became {total} at step {self.step}: train with a lower learning_rate "
                f"(now {self.config.learning_rate:g})."
            )
        self.optimizer.step(learning_rate_scale(self.config, self.step, used))
        self.step += 1
        self.labelled_tokens += labelled
        self.recent_losses.append(total / labelled)

    def _evaluate(self) -> None:
        """Score the held-out rows; keep the model if none was better, and where to go on from in any case."""
        self.validation = validation_loss(self.model, self.held_out, self._poll)
        if not math.isfinite(self.validation):
            raise TrainingFailed(f"The validation loss became {self.validation}: train with a lower learning_rate.")
        self.evaluations_done += 1
        if self.best is None or self.validation < self.best:
            self.best = self.validation
            self.evaluations_without_gain = 0
            self._save(BEST_CHECKPOINT)
        else:
            self.evaluations_without_gain += 1
        self._save(LAST_CHECKPOINT)
        self._tell(lambda callback: callback.on_evaluation(self.progress()))

    @property
    def _next_evaluation(self) -> float:
        """The share of the budget at which to evaluate next."""
        return (self.evaluations_done + 1) / self.config.evaluations

    def _poll(self) -> None:
        answers = [callback.poll() for callback in self.callbacks]
        self.stop_requested = self.stop_requested or any(answers)

    def _tell(self, event: Callable[[Callback], None]) -> None:
        for callback in self.callbacks:
            event(callback)

    # -- what it reports

    @property
    def elapsed(self) -> float:
        return self.elapsed_before + time.monotonic() - self.started_at

    def progress(self) -> Progress:
        elapsed = self.elapsed
        used = budget_used(self.config, self.step, elapsed)
        here = elapsed - self.elapsed_before
        return Progress(
            step=self.step,
            max_steps=self.config.max_steps,
            elapsed_seconds=round(elapsed, 3),
            seconds_left=round(elapsed / used - elapsed, 1) if used > 0 else None,
            train_loss=_rounded(sum(self.recent_losses) / len(self.recent_losses)) if self.recent_losses else None,
            validation_loss=_rounded(self.validation),
            best_validation_loss=_rounded(self.best),
            tokens_per_second=round(self.labelled_tokens / here, 1) if here > 0 and self.labelled_tokens else None,
        )

    def _metrics(self, reason: StopReason) -> RunMetrics | None:
        if self.best is None:
            return None
        return RunMetrics(
            steps=self.step,
            seconds=round(self.elapsed, 2),
            validation_loss=self.best,
            bits_per_character=bits_per_character(self.best),
            parameters=self.model.parameter_count,
            training_rows=len(self.training),
            validation_rows=len(self.held_out),
            stopped_by=reason.value,
        )

    # -- what it keeps

    def _save(self, name: str) -> None:
        self._tell(lambda callback: callback.before_write())
        training = {
            "config": self._settings(),
            "data_sha256": self.data_hash,
            "step": self.step,
            "elapsed_seconds": self.elapsed,
            "validation_loss": self.validation,
            "best_validation_loss": self.best,
        }
        resume = self._resume_state() if name == LAST_CHECKPOINT else {}
        save_checkpoint(Checkpoint(self.model, self.tokenizer, training, resume), self.folder / name)
        if name == LAST_CHECKPOINT:
            self.saved_at = time.monotonic()

    def _settings(self) -> dict[str, Any]:
        """What a run that goes on from here must share: all but the threads, which are the machine's."""
        return asdict(replace(self.config, threads=None))

    def _resume_state(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer.state_dict(),
            "random_state": torch.get_rng_state(),
            "cuda_random_state": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
            "evaluations_done": self.evaluations_done,
            "evaluations_without_gain": self.evaluations_without_gain,
            "recent_losses": list(self.recent_losses),
        }

    def _resume(self, path: Path) -> None:
        checkpoint = load_checkpoint(path)
        saved = checkpoint.training
        if not checkpoint.resume:
            raise TrainingFailed(f"{path} has no state to go on from: train into another folder, or delete it.")
        if saved.get("config") != self._settings() or saved.get("data_sha256") != self.data_hash:
            raise TrainingFailed(
                f"{path} is from a run with other settings or other data: train into another folder, or delete it."
            )
        self.model.load_state_dict(checkpoint.model.state_dict())
        self.optimizer.load_state_dict(checkpoint.resume["optimizer"])
        torch.set_rng_state(checkpoint.resume["random_state"])
        if self.device.type == "cuda" and checkpoint.resume["cuda_random_state"] is not None:
            torch.cuda.set_rng_state(checkpoint.resume["cuda_random_state"])
        self.step = saved["step"]
        self.elapsed_before = saved["elapsed_seconds"]
        self.validation = saved["validation_loss"]
        self.best = saved["best_validation_loss"]
        self.evaluations_done = checkpoint.resume["evaluations_done"]
        self.evaluations_without_gain = checkpoint.resume["evaluations_without_gain"]
        self.recent_losses.extend(checkpoint.resume["recent_losses"])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


@contextlib.contextmanager
def _memory_errors() -> Iterator[None]:
    """Say what to do when memory runs out, in whichever way torch tells it."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise TrainingFailed(_OUT_OF_MEMORY) from error
    except RuntimeError as error:
        if "not enough memory" in str(error) or "can't allocate memory" in str(error):
            raise TrainingFailed(_OUT_OF_MEMORY) from error
        raise


_OUT_OF_MEMORY = (
    "Memory ran out: train with a smaller batch_size or context_length, with more micro_batches, or a smaller model."
)
