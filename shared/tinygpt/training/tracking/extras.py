"""The trackers whose packages are optional, and whether they are installed."""

import importlib.util
from collections.abc import Iterable
from enum import StrEnum

from tinygpt.contracts.errors import TrainingFailed


class TrackerName(StrEnum):
    """A tracker that needs an extra. It is named like its package and its extra."""

    WANDB = "wandb"
    MLFLOW = "mlflow"


def check_installed(names: Iterable[TrackerName]) -> None:
    """Raises `TrainingFailed` if the package of one is missing."""
    for name in names:
        spec = importlib.util.find_spec(name)
        # A folder `wandb`, which W&B leaves wherever it runs, looks like a package without an origin.
        if spec is None or spec.origin is None:
            raise TrainingFailed(
                f"Tracking with {name} needs the extra of that name, which is not installed: "
                f"deploy/install .venv -e '.[{name}]'."
            )
