"""Weights & Biases: files in `wandb/` in the run's folder, which `wandb sync` uploads."""

import os
from collections.abc import Mapping

from tinygpt.training.callbacks import StopReason
from tinygpt.training.tracking.background import BackgroundTracker
from tinygpt.training.tracking.extras import TrackerName
from tinygpt.training.tracking.tracker import PROJECT, hyperparameters


class WandbTracker(BackgroundTracker):
    """Offline unless WANDB_MODE says otherwise."""

    name = TrackerName.WANDB

    def _open(self, step: int) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            mode=os.environ.get("WANDB_MODE", "offline"),
            name=self._folder.resolve().name,
            dir=str(self._folder),
            config=hyperparameters(self._config),
            id=self._saved_id(step),
            resume="allow",
            settings=wandb.Settings(console="off", silent=True),
        )
        self._save_id(self._run.id)

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def _finish(self, reason: StopReason | None) -> None:
        self._run.finish(exit_code=int(reason is None))
