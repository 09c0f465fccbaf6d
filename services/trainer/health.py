"""`python -m services.trainer.health`: exit 0 if the worker is alive. The container's health check."""

import sys
import time

from services.trainer.settings import TrainerSettings
from tinygpt.runtime.settings import load_settings

_STALLED_SECONDS = 60


def main() -> None:
    alive_file = load_settings(TrainerSettings).trainer_alive_file
    try:
        age = time.time() - alive_file.stat().st_mtime
    except FileNotFoundError:
        sys.exit("The trainer has not started yet.")
    if age > _STALLED_SECONDS:
        sys.exit(f"The trainer has shown no sign of life for {age:.0f} s.")


if __name__ == "__main__":
    main()
