"""How the world outside takes part in a run: it is told what happens, and may ask the loop to stop."""

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
        """Before the first step (of this process: a resumed run starts again)."""

    def on_step(self, progress: Progress) -> None:
        """After every optimiser step."""

    def on_evaluation(self, progress: Progress) -> None:
        """After every evaluation; `progress.validation_loss` is new."""

    def on_end(self, progress: Progress, reason: StopReason) -> None:
        """After the last checkpoint is written."""

    def poll(self) -> bool:
        """Between steps and between batches of an evaluation, several times a second. True asks the run to stop:
        it writes `last.pt` and leaves."""
        return False

    def before_write(self) -> None:
        """Before a checkpoint is written; raising here keeps it from being written."""
