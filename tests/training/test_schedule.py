"""The learning rate: up in the warm-up, kept, and down to the end of the budget, whichever budget ends first."""

from dataclasses import replace

import pytest

from tinygpt.training.config import TrainConfig
from tinygpt.training.schedule import WARMUP_STEPS, budget_used, learning_rate_scale

CONFIG = TrainConfig(decay_from=0.0, final_learning_rate_share=0.1, max_steps=500, max_seconds=None)


def scale(step: int, config: TrainConfig = CONFIG) -> float:
    return learning_rate_scale(config, step, budget_used(config, step, elapsed=0.0))


def test_the_first_step_already_learns() -> None:
    assert scale(0) == pytest.approx(1 / WARMUP_STEPS)


def test_the_warm_up_is_linear_and_ends_at_the_decaying_line() -> None:
    assert [scale(step) for step in range(45)] == pytest.approx([(step + 1) / 50 for step in range(45)])
    assert scale(50) == pytest.approx(1 - 0.9 * 0.1)


def test_the_decay_is_linear_and_ends_at_the_final_share() -> None:
    falls = [scale(step) - scale(step + 1) for step in range(50, 500)]

    assert falls == pytest.approx([falls[0]] * 450)
    assert scale(500) == pytest.approx(0.1)


def test_the_peak_lasts_until_the_decay_begins() -> None:
    config = replace(CONFIG, decay_from=0.6)

    assert [scale(step, config) for step in range(49, 301)] == [1.0] * 252
    assert [scale(step, config) for step in (350, 400, 500)] == pytest.approx([0.775, 0.55, 0.1])


@pytest.mark.parametrize(
    ("max_steps", "max_seconds", "used"), [(100, None, 0.3), (None, 60.0, 0.5), (100, 60.0, 0.5), (31, 60.0, 30 / 31)]
)
def test_the_budget_that_is_further_used_counts(max_steps: int | None, max_seconds: float | None, used: float) -> None:
    config = TrainConfig(max_steps=max_steps, max_seconds=max_seconds)

    assert budget_used(config, step=30, elapsed=30.0) == pytest.approx(used)


def test_no_more_than_the_whole_budget_is_used() -> None:
    assert budget_used(CONFIG, step=600, elapsed=0.0) == 1.0
