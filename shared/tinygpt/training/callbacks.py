"""How code outside a run takes part in it: callbacks see what happens, and may ask the run to stop."""

from enum import StrEnum

from tinygpt.contracts.runs import Progress


class StopReason(StrEnum):
    """Why a run ended."""

    MAX_STEPS = "max_steps"
    MAX_SECONDS = "max_seconds"
    PATIENCE = "patience"
    STOP_REQUESTED = "stop_requested"


class Callback:
    """All methods may be overridden, none must be. An exception raised in one ends the run."""

    def on_start(self, progress: Progress) -> None:
        """Before the first step of this process. A resumed run starts again."""

    def on_step(self, progress: Progress) -> None:
        """After every optimiser step."""

    def on_evaluation(self, progress: Progress) -> None:
        """After every evaluation; `progress.validation_loss` is new."""

    def on_end(self, progress: Progress, reason: StopReason) -> None:
        """After the last checkpoint is written."""

    def poll(self) -> bool:
        """Called between steps and between batches of an evaluation, several times a second.

        True asks the run to stop: it writes `last.pt` and ends.
        """
        return False

    def before_write(self) -> None:
        """Before a checkpoint is written. Raise here to prevent the write."""
