"""What a run says about itself: its progress after each step, and what it reached at its end."""

from tinygpt.contracts.runs import Progress, RunMetrics
from tinygpt.training.callbacks import StopReason
from tinygpt.training.loss import bits_per_character
from tinygpt.training.schedule import budget_used
from tinygpt.training.state import TrainingState
from tinygpt.training.token_store import TokenStore


def progress_of(state: TrainingState, elapsed: float, tokens_per_second: float | None) -> Progress:
    """Where the run stands after `elapsed` seconds, those of interrupted processes included."""
    used = budget_used(state.config, state.step, elapsed)
    losses = state.recent_losses
    return Progress(
        step=state.step,
        max_steps=state.config.max_steps,
        elapsed_seconds=round(elapsed, 3),
        seconds_left=round(elapsed / used - elapsed, 1) if used > 0 else None,
        train_loss=_rounded(sum(losses) / len(losses)) if losses else None,
        validation_loss=_rounded(state.validation_loss),
        best_validation_loss=_rounded(state.best_validation_loss),
        tokens_per_second=_rounded(tokens_per_second, 1),
    )


def metrics_of(
    state: TrainingState, data: TokenStore, validation_rows: int, elapsed: float, reason: StopReason
) -> RunMetrics | None:
    """What the run reached; None if it ended before its first evaluation."""
    if state.best_validation_loss is None:
        return None
    return RunMetrics(
        steps=state.step,
        seconds=round(elapsed, 2),
        validation_loss=state.best_validation_loss,
        bits_per_character=bits_per_character(state.best_validation_loss),
        parameters=state.model.parameter_count,
        training_rows=len(data.training),
        validation_rows=validation_rows,
        rows_cut=data.rows_cut,
        rows_left_out=data.rows_left_out,
        stopped_by=reason.value,
    )


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)
