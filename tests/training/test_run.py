"""A run in one process: where it ends, what it leaves and what it reports."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.checkpoints import differences, state_of
from tests.training.small_runs import CONFIG, HOPELESS, ROWS, Clock, StopAfter, Witness, metrics_of
from tinygpt.data.rows import Row, read_rows
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.training import run as run_module
from tinygpt.training.callbacks import StopReason
from tinygpt.training.run import train


def test_a_run_of_max_steps_leaves_a_model_that_learned_and_reports_it(tmp_path: Path) -> None:
    witness = Witness()
    result = train(CONFIG, ROWS, [witness], folder=tmp_path)

    assert result.reason is StopReason.MAX_STEPS
    assert [progress.step for progress in witness.steps] == list(range(1, 31))
    assert [progress.step for progress in witness.evaluations] == [10, 20, 30]
    assert [progress.step for progress in witness.started] == [0]
    assert witness.ended == [(30, StopReason.MAX_STEPS)]
    losses = [progress.validation_loss for progress in witness.evaluations]
    assert losses[0] is not None
    assert losses[-1] is not None
    assert losses[-1] < losses[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "last.pt", "training_rows.jsonl"]
    assert (result.steps, metrics_of(result).stopped_by) == (30, "max_steps")
    assert metrics_of(result).validation_loss == pytest.approx(
        min(loss for loss in losses if loss is not None), abs=1e-4
    )
    assert load_checkpoint(result.best).model.parameter_count == metrics_of(result).parameters


def test_at_least_a_tenth_of_the_rows_is_held_out_and_never_trained_on(tmp_path: Path) -> None:
    metrics = metrics_of(train(replace(CONFIG, max_steps=1, evaluations=1), ROWS, folder=tmp_path))

    assert metrics.validation_rows >= 6
    assert metrics.validation_rows + metrics.training_rows == 60
    kept = read_rows(tmp_path / "training_rows.jsonl")
    assert len(kept) == metrics.training_rows
    assert {row.prompt for row in kept} < {row.prompt for row in ROWS}


def test_an_evaluation_scores_a_limited_number_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "HELD_OUT_ROWS_SCORED", 2)

    metrics = metrics_of(train(replace(CONFIG, max_steps=1), ROWS, folder=tmp_path))

    assert (metrics.training_rows, metrics.validation_rows) == (54, 2)


def test_a_run_without_a_gain_stops_when_its_patience_ends(tmp_path: Path) -> None:
    witness = Witness()

    result = train(HOPELESS, ROWS, [witness], folder=tmp_path)

    assert result.reason is StopReason.PATIENCE
    assert [progress.step for progress in witness.evaluations] == [10, 20, 30]
    assert load_checkpoint(tmp_path / "best.pt").training["step"] == 10
    assert load_checkpoint(tmp_path / "last.pt").training["step"] == 30


def test_patience_begins_with_the_decay(tmp_path: Path) -> None:
    result = train(replace(HOPELESS, decay_from=0.5), ROWS, folder=tmp_path)

    assert (result.reason, result.steps) == (StopReason.PATIENCE, 70)


def test_the_best_checkpoint_has_the_lowest_validation_loss(tmp_path: Path) -> None:
    witness = Witness()
    rows = [Row(f"{i} {word}", f"{word}{i * 7919 % 1000}") for i, word in enumerate("abcdefghijklmnopqrstuvwxyz")]
    overfits = replace(CONFIG, learning_rate=0.05, max_steps=200, evaluations=20, patience=20)

    result = train(overfits, rows, [witness], folder=tmp_path)

    losses = [progress.validation_loss for progress in witness.evaluations if progress.validation_loss is not None]
    best = min(range(len(losses)), key=losses.__getitem__)
    assert best < len(losses) - 1  # it did get worse, or this shows nothing
    assert load_checkpoint(result.best).training["step"] == witness.evaluations[best].step
    assert metrics_of(result).validation_loss == pytest.approx(losses[best], abs=1e-4)


@pytest.mark.parametrize("save_every_seconds", [0.0, 60.0])
@pytest.mark.parametrize("evaluations", [1, 4])
@pytest.mark.parametrize("max_seconds", [156.0, 157.0, 158.0, 159.0, 160.0])  # at any point of a step
def test_a_budget_in_seconds_ends_with_an_evaluation_of_the_last_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_seconds: float, evaluations: int, save_every_seconds: float
) -> None:
    monkeypatch.setattr(run_module, "time", Clock())
    monkeypatch.setattr(run_module, "_SAVE_EVERY_SECONDS", save_every_seconds)
    witness = Witness()

    config = replace(CONFIG, max_steps=None, max_seconds=max_seconds, evaluations=evaluations)

    result = train(config, ROWS, [witness], folder=tmp_path)

    assert result.reason is StopReason.MAX_SECONDS
    assert 1 <= result.steps < 160
    assert evaluations <= len(witness.evaluations) <= evaluations + 1
    assert witness.evaluations[-1].step == result.steps
    assert load_checkpoint(tmp_path / "last.pt").training["step"] == result.steps


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    config = replace(CONFIG, max_steps=3, evaluations=1)
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(replace(config, seed=seed), ROWS, folder=tmp_path / name)
        weights.append(state_of(tmp_path / name / "last.pt")["state_dict"])

    assert differences(weights[0], weights[1]) == []
    assert "/head.weight" in differences(weights[0], weights[2])


def test_ngrams_are_dropped_from_the_third_epoch_on(tmp_path: Path) -> None:
    def weights(steps: int, dropout: float) -> object:
        folder = tmp_path / f"{steps}-{dropout}"
        train(replace(CONFIG, max_steps=steps, evaluations=1, ngram_dropout=dropout), ROWS, folder=folder)
        return state_of(folder / "last.pt")["state_dict"]

    assert differences(weights(14, 0.0), weights(14, 0.8)) == []
    assert "/ngram_embedding.table.weight" in differences(weights(15, 0.0), weights(15, 0.8))


def test_progress_has_step_losses_speed_and_the_seconds_left(tmp_path: Path) -> None:
    witness = Witness()
    train(CONFIG, ROWS, [witness], folder=tmp_path)

    first, last = witness.steps[0], witness.steps[-1]
    assert (first.step, first.max_steps, first.validation_loss) == (1, 30, None)
    assert first.train_loss is not None
    assert last.train_loss is not None
    assert last.train_loss < first.train_loss
    assert first.seconds_left is not None
    assert last.seconds_left == 0
    assert last.tokens_per_second is not None
    assert last.tokens_per_second > 0
    assert last.best_validation_loss == witness.evaluations[-2].best_validation_loss


def test_every_callback_is_called_and_any_one_may_stop_the_run(tmp_path: Path) -> None:
    witnesses = [Witness(), Witness()]

    result = train(CONFIG, ROWS, [witnesses[0], StopAfter(4), witnesses[1]], folder=tmp_path)

    assert result.reason is StopReason.STOP_REQUESTED
    assert [len(witness.steps) for witness in witnesses] == [4, 4]
    assert load_checkpoint(tmp_path / "last.pt").training["step"] == 4
