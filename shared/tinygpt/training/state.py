"""What the steps of a run change, and how checkpoints keep it."""

from collections import deque
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tinygpt.contracts.errors import TrainingFailed
from tinygpt.contracts.models import BEST_CHECKPOINT, LAST_CHECKPOINT
from tinygpt.data.tokenizer import Tokenizer
from tinygpt.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tinygpt.training.config import TrainConfig, without_removed_options
from tinygpt.training.distributed import World
from tinygpt.training.frequent_ngrams import model_with
from tinygpt.training.optimizer import Optimizers
from tinygpt.training.precision import to_precision

_RECENT_STEPS = 50


class TrainingState:
    """A model in training, its optimisers, and how far the run is.

    There is no state of random generators, because each step seeds its own (`step.py`).
    """

    def __init__(
        self, config: TrainConfig, tokenizer: Tokenizer, ngrams: Tensor, data_sha256: str, world: World
    ) -> None:
        self.tokenizer = tokenizer
        self.data_sha256 = data_sha256
        torch.manual_seed(config.seed)
        model = model_with(ngrams, replace(config.model, vocab_size=tokenizer.vocab_size)).to(world.device)
        self.config = replace(config, model=model.config)
        world.broadcast_weights(model)
        self.model = to_precision(model, config.precision)
        self.weights = list(self.model.parameters())
        self.optimizer = Optimizers(self.model, self.config)
        self.step = 0
        self.seconds_before = 0.0
        """Training time of the interrupted processes that this one resumes."""
        self.evaluations_done = 0
        self.evaluations_without_gain = 0
        self.evaluated_at: int | None = None
        """The step of the last evaluation."""
        self.validation_loss: float | None = None
        self.best_validation_loss: float | None = None
        self.recent_losses: deque[float] = deque(maxlen=_RECENT_STEPS)

    @property
    def identity(self) -> dict[str, Any]:
        """What a run must have in common with a `last.pt` to resume from it. Another machine may use other threads."""
        return {"config": asdict(replace(self.config, threads=None)), "data_sha256": self.data_sha256}

    def save_best(self, folder: Path, seconds: float) -> None:
        """Write `best.pt`: the model alone. Raises as `save_last` does."""
        self._save(folder / BEST_CHECKPOINT, seconds, {})

    def save_last(self, folder: Path, seconds: float) -> None:
        """Write `last.pt`, from which a run resumes.

        Raises:
            TrainingFailed: a weight is not a finite number.
            StorageFull: no space is left.
        """
        resume = {
            "optimizer": self.optimizer.state_dict(),
            "evaluations_done": self.evaluations_done,
            "evaluations_without_gain": self.evaluations_without_gain,
            "evaluated_at": self.evaluated_at,
            "recent_losses": list(self.recent_losses),
        }
        self._save(folder / LAST_CHECKPOINT, seconds, resume)

    def _save(self, path: Path, seconds: float, resume: dict[str, Any]) -> None:
        if not all(weight.isfinite().all() for weight in self.weights):
            raise TrainingFailed(
                f"The weights overflowed by step {self.step}, so {path.name} was not written: train with a lower "
                f"learning_rate (now {self.config.learning_rate:g})."
            )
        training = self.identity | {
            "step": self.step,
            "elapsed_seconds": seconds,
            "validation_loss": self.validation_loss,
            "best_validation_loss": self.best_validation_loss,
        }
        save_checkpoint(Checkpoint(self.model, self.tokenizer, training, resume), path)

    def resume_from(self, path: Path) -> None:
        """Load what `save_last` wrote to `path`.

        Raises:
            InvalidCheckpoint: it can't be read.
            TrainingFailed: it is from other settings, other data or another version, or is not a `last.pt`.
        """
        checkpoint = load_checkpoint(path)
        saved, resume = checkpoint.training, checkpoint.resume
        if not resume:
            raise TrainingFailed(f"{path} has no state to resume from: train into another folder, or delete it.")
        self._check_identity(saved, path)
        self.model.load_state_dict(checkpoint.model.state_dict())
        try:
            self.optimizer.load_state_dict(resume["optimizer"])
            self.evaluations_done = resume["evaluations_done"]
            self.evaluations_without_gain = resume["evaluations_without_gain"]
            self.evaluated_at = resume["evaluated_at"]
            self.recent_losses.extend(resume["recent_losses"])
        except (KeyError, ValueError) as error:
            raise TrainingFailed(
                f"{path} is from another version of this program: train into another folder, or delete it."
            ) from error
        self.step = saved["step"]
        self.seconds_before = saved["elapsed_seconds"]
        self.validation_loss = saved["validation_loss"]
        self.best_validation_loss = saved["best_validation_loss"]

    def _check_identity(self, saved: dict[str, Any], path: Path) -> None:
        try:
            settings = without_removed_options(saved.get("config", {}))
        except ValueError as error:
            raise TrainingFailed(
                f"{path} was trained with {error}: train into another folder, or delete it."
            ) from error
        if self.identity != {"config": settings, "data_sha256": saved.get("data_sha256")}:
            raise TrainingFailed(
                f"{path} is from a run with other settings or other data: train into another folder, or delete it."
            )
