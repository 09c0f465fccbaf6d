"""Where the curves of a run go: TensorBoard's event files always, Weights & Biases and MLflow if asked for.

One file per tracker. `tracker.py` has what they share, `background.py` what those share that call a service.
"""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from tinygpt.training.callbacks import Callback
from tinygpt.training.config import TrainConfig
from tinygpt.training.tracking.extras import TrackerName, check_installed
from tinygpt.training.tracking.mlflow import MlflowTracker
from tinygpt.training.tracking.tensorboard import TensorBoardTracker
from tinygpt.training.tracking.tracker import Tracker
from tinygpt.training.tracking.wandb import WandbTracker

__all__ = ["TrackerName", "check_installed", "trackers"]


@contextlib.contextmanager
def trackers(folder: Path, config: TrainConfig, names: Iterable[TrackerName] = ()) -> Iterator[list[Callback]]:
    """The callbacks that track a run in `folder`: TensorBoard's and those named. Closed at the end of the block.

    Raises:
        TrainingFailed: the package of one is not installed; the message says what to do.
    """
    kinds: dict[TrackerName, type[Tracker]] = {TrackerName.WANDB: WandbTracker, TrackerName.MLFLOW: MlflowTracker}
    opened: list[Tracker] = [TensorBoardTracker(folder, config)]
    opened += [kinds[name](folder, config) for name in dict.fromkeys(names)]
    try:
        yield list(opened)
    finally:
        for tracker in opened:
            tracker.close()
