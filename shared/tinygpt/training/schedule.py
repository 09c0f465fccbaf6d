"""The learning rate over a run: linear warm-up, constant for a time, then linear decay to the end of the budget."""

from tinygpt.training.config import TrainConfig

WARMUP_STEPS = 50


def budget_used(config: TrainConfig, step: int, elapsed: float) -> float:
    """The share of the budget used, 0 to 1: of the steps or of the seconds, whichever is larger."""
    by_steps = step / config.max_steps if config.max_steps else 0.0
    by_seconds = elapsed / config.max_seconds if config.max_seconds else 0.0
    return min(1.0, max(by_steps, by_seconds))


def learning_rate_scale(config: TrainConfig, step: int, used: float) -> float:
    """The share of the peak learning rate at step `step` (from 0), when the share `used` of the budget is used."""
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    decay_done = max(0.0, used - config.decay_from) / (1.0 - config.decay_from)
    decayed = 1.0 - (1.0 - config.final_learning_rate_share) * decay_done
    return min(warm, decayed)
