"""A run inside one process: where it stops, how it goes on, and what it says when it can't."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.full_disk import full_disk
from tests.training.checkpoints import differences, state_of
from tinygpt.contracts.errors import InvalidCheckpoint, LeaseLost, StorageFull, TrainingFailed
from tinygpt.contracts.runs import Progress, RunMetrics
from tinygpt.data.examples import split_rows
from tinygpt.data.rows import Row, read_rows, write_rows
from tinygpt.data.tokenizer import TokenizerKind
from tinygpt.durable import sha256_of
from tinygpt.model.checkpoint import load_checkpoint, save_checkpoint
from tinygpt.model.config import ModelConfig
from tinygpt.training import loop, precision
from tinygpt.training.batches import collate
from tinygpt.training.callbacks import Callback, StopReason
from tinygpt.training.config import TrainConfig
from tinygpt.training.loop import TrainResult, store_for, train
from tinygpt.training.loss import masked_loss

ROWS = [Row(f"add {i} to x", f"x + {i}") for i in range(60)]
CONFIG = TrainConfig(
    model=ModelConfig(context_length=32, layers=1, heads=2, width=16, dropout=0.1, ngrams=(2, 3), ngram_rows=64),
    batch_size=8,
    learning_rate=1e-2,
    warmup_steps=5,
    max_steps=30,
    max_seconds=None,
    evaluations=3,
    precision="fp32",
)
"""An evaluation after steps 10, 20 and 30; seven batches an epoch."""
HOPELESS = replace(
    CONFIG,
    optimizer="adamw",
    learning_rate=1e-30,
    table_learning_rate=1e-30,
    decay_from=0.0,
    max_steps=100,
    evaluations=10,
    patience=2,
)
"""Learns nothing: no evaluation is better than the first."""


def metrics_of(result: TrainResult) -> RunMetrics:
    assert result.metrics is not None
    return result.metrics


class Witness(Callback):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.started: list[Progress] = []
        self.steps: list[Progress] = []
        self.evaluations: list[Progress] = []
        self.ended: list[tuple[int, StopReason]] = []

    def on_start(self, progress: Progress) -> None:
        self.started.append(progress)

    def on_step(self, progress: Progress) -> None:
        self.steps.append(progress)

    def on_evaluation(self, progress: Progress) -> None:
        self.evaluations.append(progress)

    def on_end(self, progress: Progress, reason: StopReason) -> None:
        self.ended.append((progress.step, reason))


class StopAfter(Callback):
    """Asks the run to stop after a step."""

    def __init__(self, step: int) -> None:
        self.last = step
        self.step = 0

    def on_step(self, progress: Progress) -> None:
        self.step = progress.step

    def poll(self) -> bool:
        return self.step >= self.last


class FailAfter(Callback):
    """Dies after a step, as a killed process would: nothing more is written."""

    def __init__(self, step: int) -> None:
        self.last = step

    def on_step(self, progress: Progress) -> None:
        if progress.step >= self.last:
            raise KeyboardInterrupt


class NoLease(Callback):
    def before_write(self) -> None:
        raise LeaseLost("another worker has the run")


class Clock:
    """A fake for the `time` module of the loop: every look at it takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


def one_sentence(error: Exception) -> str:
    message = str(error)
    assert message
    assert "\n" not in message
    assert "Traceback" not in message
    return message


# -- a run to its end


def test_a_run_of_max_steps_leaves_a_model_that_learned_and_says_what_it_reached(tmp_path: Path) -> None:
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


def test_a_run_without_one_gain_stops_when_its_patience_ends(tmp_path: Path) -> None:
    witness = Witness()

    result = train(HOPELESS, ROWS, [witness], folder=tmp_path)

    assert result.reason is StopReason.PATIENCE
    assert [progress.step for progress in witness.evaluations] == [10, 20, 30]
    assert load_checkpoint(tmp_path / "best.pt").training["step"] == 10
    assert load_checkpoint(tmp_path / "last.pt").training["step"] == 30


def test_patience_begins_with_the_decay(tmp_path: Path) -> None:
    result = train(replace(HOPELESS, decay_from=0.5), ROWS, folder=tmp_path)

    assert (result.reason, result.steps) == (StopReason.PATIENCE, 70)


def test_the_best_checkpoint_is_the_one_with_the_lowest_validation_loss(tmp_path: Path) -> None:
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
@pytest.mark.parametrize("max_seconds", [156.0, 157.0, 158.0, 159.0, 160.0])  # wherever in a step the time runs out
def test_a_budget_in_seconds_ends_the_run_with_an_evaluation_of_the_last_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_seconds: float, evaluations: int, save_every_seconds: float
) -> None:
    monkeypatch.setattr(loop, "time", Clock())
    monkeypatch.setattr(loop, "_SAVE_EVERY_SECONDS", save_every_seconds)
    witness = Witness()

    config = replace(CONFIG, max_steps=None, max_seconds=max_seconds, evaluations=evaluations)

    result = train(config, ROWS, [witness], folder=tmp_path)

    assert result.reason is StopReason.MAX_SECONDS
    assert 1 <= result.steps < 160
    assert evaluations <= len(witness.evaluations) <= evaluations + 1
    assert witness.evaluations[-1].step == result.steps
    assert load_checkpoint(tmp_path / "last.pt").training["step"] == result.steps


def test_a_resumed_run_has_only_the_seconds_that_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, max_steps=None, max_seconds=200.0)
    steps = []
    for folder, stops in ((tmp_path / "whole", []), (tmp_path / "stopped", [StopAfter(10)])):
        monkeypatch.setattr(loop, "time", Clock())
        steps.append(train(config, ROWS, stops, folder=folder).steps)
    monkeypatch.setattr(loop, "time", Clock())
    resumed = train(config, ROWS, folder=tmp_path / "stopped")

    assert steps[1] == 10
    assert metrics_of(resumed).seconds >= 200
    assert 10 < resumed.steps <= steps[0] + 1


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    config = replace(CONFIG, max_steps=3, evaluations=1)
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(replace(config, seed=seed), ROWS, folder=tmp_path / name)
        weights.append(state_of(tmp_path / name / "last.pt")["state_dict"])

    assert differences(weights[0], weights[1]) == []
    assert "/head.weight" in differences(weights[0], weights[2])


def test_ngrams_are_dropped_from_the_third_pass_over_the_rows_on(tmp_path: Path) -> None:
    def weights(steps: int, dropout: float) -> object:
        folder = tmp_path / f"{steps}-{dropout}"
        train(replace(CONFIG, max_steps=steps, evaluations=1, ngram_dropout=dropout), ROWS, folder=folder)
        return state_of(folder / "last.pt")["state_dict"]

    assert differences(weights(14, 0.0), weights(14, 0.8)) == []
    assert "/ngram_embedding.table.weight" in differences(weights(15, 0.0), weights(15, 0.8))


# -- stopping and going on


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(CONFIG, ROWS, folder=folder)
    return folder


@pytest.mark.parametrize("stops", [[1], [10], [13], [29], [4, 12, 23]], ids=str)
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path: Path, uninterrupted: Path, stops: list[int]) -> None:
    for stop in stops:
        torch.manual_seed(stop)  # whatever another process left behind
        stopped = train(CONFIG, ROWS, [StopAfter(stop)], folder=tmp_path)
        assert (stopped.reason, stopped.steps) == (StopReason.STOP_REQUESTED, stop)
    resumed = train(CONFIG, ROWS, folder=tmp_path)

    assert resumed.reason is StopReason.MAX_STEPS
    for name in ("last.pt", "best.pt"):
        assert differences(state_of(tmp_path / name), state_of(uninterrupted / name)) == []


@pytest.mark.parametrize("step", [3, 17])
def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint_to_the_same_bits(
    tmp_path: Path, uninterrupted: Path, step: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, ROWS, [FailAfter(step)], folder=tmp_path)
    witness = Witness()
    train(CONFIG, ROWS, [witness], folder=tmp_path)

    assert [progress.step for progress in witness.started] == [10 if step > 10 else 0]
    assert differences(state_of(tmp_path / "last.pt"), state_of(uninterrupted / "last.pt")) == []


def test_a_run_on_a_store_goes_on_to_the_bits_of_a_run_on_its_rows(tmp_path: Path, uninterrupted: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    for stops in ([StopAfter(13)], []):
        store = store_for(CONFIG, tmp_path / "rows.jsonl", tmp_path / "tokens")
        train(CONFIG, store, stops, folder=tmp_path / "run")

    for name in ("last.pt", "best.pt"):
        assert differences(state_of(tmp_path / "run" / name), state_of(uninterrupted / name)) == []
    training = tmp_path / "run" / "training_rows.jsonl"
    assert read_rows(training) == read_rows(uninterrupted / "training_rows.jsonl") == split_rows(ROWS).training


def test_an_evaluation_scores_no_more_rows_than_it_has_time_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "HELD_OUT_ROWS_SCORED", 2)

    metrics = metrics_of(train(replace(CONFIG, max_steps=1), ROWS, folder=tmp_path))

    assert (metrics.training_rows, metrics.validation_rows) == (54, 2)


def test_patience_is_not_renewed_by_a_stop(tmp_path: Path) -> None:
    train(HOPELESS, ROWS, [StopAfter(25)], folder=tmp_path)

    result = train(HOPELESS, ROWS, folder=tmp_path)

    assert (result.reason, result.steps) == (StopReason.PATIENCE, 30)


def test_a_run_that_has_ended_does_not_train_again(tmp_path: Path) -> None:
    first = train(CONFIG, ROWS, folder=tmp_path)
    best = sha256_of(first.best)
    witness = Witness()

    again = train(CONFIG, ROWS, [witness], folder=tmp_path)

    assert witness.steps == witness.evaluations == []
    assert (again.reason, metrics_of(again).validation_loss) == (first.reason, metrics_of(first).validation_loss)
    assert sha256_of(again.best) == best


def test_a_worker_with_other_threads_may_go_on(tmp_path: Path) -> None:
    train(replace(CONFIG, threads=1), ROWS, [StopAfter(5)], folder=tmp_path)

    assert train(CONFIG, ROWS, folder=tmp_path).steps == 30


@pytest.mark.parametrize("in_bf16", [(True, False), (False, True)], ids=["bf16, fp32", "fp32, bf16"])
def test_a_machine_that_computes_in_another_format_may_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_bf16: tuple[bool, bool]
) -> None:
    config = replace(CONFIG, precision="auto", optimizer="muon")
    monkeypatch.setattr(precision, "computes_in_bf16", lambda _: in_bf16[0])
    train(config, ROWS, [StopAfter(5)], folder=tmp_path)
    before = load_checkpoint(tmp_path / "last.pt").resume["optimizer"]["originals"]
    monkeypatch.setattr(precision, "computes_in_bf16", lambda _: in_bf16[1])

    result = train(config, ROWS, folder=tmp_path)

    assert any(original is not None for original in before) is in_bf16[0]
    assert (result.steps, math.isfinite(metrics_of(result).validation_loss)) == (30, True)


@pytest.mark.parametrize(
    ("config", "rows"),
    [
        (CONFIG, [Row(row.prompt, row.code.replace("x", "ü")) for row in ROWS]),
        (CONFIG, [Row(row.prompt, row.code.replace("x", "y")) for row in ROWS]),
        (CONFIG, ROWS[::-1]),
        (replace(CONFIG, seed=1), ROWS),
        (replace(CONFIG, model=replace(CONFIG.model, width=32)), ROWS),
    ],
    ids=["other characters", "other code", "other order", "seed", "size"],
)
def test_the_last_checkpoint_of_another_run_is_refused_and_nothing_of_it_is_touched(
    tmp_path: Path, config: TrainConfig, rows: list[Row]
) -> None:
    train(CONFIG, ROWS, [StopAfter(12)], folder=tmp_path)
    before = {path.name: sha256_of(path) for path in tmp_path.iterdir()}

    with pytest.raises(TrainingFailed, match="other settings or other data") as caught:
        train(config, rows, folder=tmp_path)

    assert str(tmp_path / "last.pt") in one_sentence(caught.value)
    assert {path.name: sha256_of(path) for path in tmp_path.iterdir()} == before


def test_a_last_checkpoint_of_another_version_is_one_clear_error(tmp_path: Path) -> None:
    train(CONFIG, ROWS, [StopAfter(5)], folder=tmp_path)
    saved = load_checkpoint(tmp_path / "last.pt")
    del saved.resume["optimizer"]["originals"][0]
    save_checkpoint(saved, tmp_path / "last.pt")

    with pytest.raises(TrainingFailed, match=r"last\.pt is from another version .* delete it"):
        train(CONFIG, ROWS, folder=tmp_path)


def test_a_broken_last_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"not one")

    with pytest.raises(InvalidCheckpoint, match=r"last\.pt"):
        train(CONFIG, ROWS, folder=tmp_path)


# -- what may forbid a checkpoint


def test_no_checkpoint_is_written_when_the_lease_is_lost(tmp_path: Path) -> None:
    with pytest.raises(LeaseLost):
        train(CONFIG, ROWS, [NoLease()], folder=tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["training_rows.jsonl"]


def test_the_successors_checkpoints_stay_when_the_lease_is_lost_later(tmp_path: Path) -> None:
    train(CONFIG, ROWS, [StopAfter(12)], folder=tmp_path)
    before = {name: sha256_of(tmp_path / name) for name in ("best.pt", "last.pt")}

    with pytest.raises(LeaseLost):
        train(CONFIG, ROWS, [NoLease()], folder=tmp_path)

    assert {name: sha256_of(tmp_path / name) for name in ("best.pt", "last.pt")} == before


def test_a_full_disk_is_one_clear_error_and_the_checkpoints_before_it_stay(tmp_path: Path) -> None:
    train(CONFIG, ROWS, [StopAfter(12)], folder=tmp_path)
    before = {path.name: sha256_of(path) for path in tmp_path.iterdir()}

    with full_disk(room=8192), pytest.raises(StorageFull, match=r"best\.pt|last\.pt") as caught:
        train(CONFIG, ROWS, folder=tmp_path)

    one_sentence(caught.value)
    assert {path.name: sha256_of(path) for path in tmp_path.iterdir()} == before


# -- what can't be trained


def test_rows_whose_code_is_cut_off_never_reach_the_loss(tmp_path: Path) -> None:
    cut_off = [Row(f"{i:03} " + "very long " * 10, "x") for i in range(40)]
    witness = Witness()

    result = train(CONFIG, [*ROWS, *cut_off], [witness], folder=tmp_path)

    assert 40 <= metrics_of(result).training_rows < 60
    assert metrics_of(result).training_rows + metrics_of(result).validation_rows == 60
    assert all(progress.train_loss is not None and progress.train_loss > 0 for progress in witness.steps)


def test_a_batch_size_beyond_the_rows_is_no_problem(tmp_path: Path) -> None:
    assert train(replace(CONFIG, batch_size=1000, max_steps=2), ROWS, folder=tmp_path).steps == 2


def test_a_loss_that_is_no_number_says_what_to_lower_and_keeps_no_such_weights(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match=r"The loss became (nan|inf) at step 1: train with a lower") as caught:
        train(replace(CONFIG, learning_rate=1e38, warmup_steps=0), ROWS, folder=tmp_path)

    one_sentence(caught.value)
    assert not (tmp_path / "last.pt").exists()


def test_weights_that_overflow_are_never_written(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingFailed, match=r"weights overflowed by step 1, so last\.pt .* lower learning_rate"
    ) as caught:
        train(replace(CONFIG, learning_rate=1e39, warmup_steps=0), ROWS, [StopAfter(1)], folder=tmp_path)

    one_sentence(caught.value)
    assert not (tmp_path / "last.pt").exists()


def test_a_validation_loss_that_is_no_number_keeps_no_such_weights(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match=r"The validation loss became (nan|inf) at step 1: train with a") as caught:
        train(replace(CONFIG, learning_rate=1e39, warmup_steps=0, max_steps=1), ROWS, folder=tmp_path)

    one_sentence(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["training_rows.jsonl"]


def test_more_memory_than_there_is_says_what_to_make_smaller(tmp_path: Path) -> None:
    enormous = replace(CONFIG.model, width=3_600_000)

    with pytest.raises(TrainingFailed, match="Memory ran out: train with a smaller batch_size") as caught:
        train(replace(CONFIG, model=enormous), ROWS, folder=tmp_path)

    one_sentence(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("can't allocate memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("could not create a memory object"),
    ],
    ids=repr,
)
def test_memory_that_runs_out_in_a_step_leaves_the_checkpoints_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def out_of_memory(*_arguments: object) -> None:
        raise error

    train(CONFIG, ROWS, [StopAfter(12)], folder=tmp_path)
    before = {path.name: sha256_of(path) for path in tmp_path.iterdir()}
    monkeypatch.setattr(loop, "training_loss", out_of_memory)

    with pytest.raises(TrainingFailed, match="Memory ran out"):
        train(CONFIG, ROWS, folder=tmp_path)

    assert {path.name: sha256_of(path) for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("tokenizer", ["characters", "byte_pair"])
def test_rows_of_one_character_train_to_an_end(tmp_path: Path, tokenizer: TokenizerKind) -> None:
    rows = [Row("a" * (i + 1), "a") for i in range(20)]

    result = train(replace(CONFIG, tokenizer=tokenizer, max_steps=100), rows, folder=tmp_path)

    assert result.steps == 100
    assert metrics_of(result).validation_loss < 1


def test_the_gradient_weighs_labels_and_the_reported_loss_characters(tmp_path: Path) -> None:
    """Byte-pair tokens stand for several characters, or for less than one."""
    rows = [Row(f"{i} {word}", f"{word} = {i} * 'ü'") for i, word in enumerate(["apple", "pear", "plum"] * 20)]
    config = replace(CONFIG, tokenizer="byte_pair", max_steps=1, optimizer="adamw", gradient_clip=1e9, batch_size=60)
    config = replace(config, model=replace(config.model, dropout=0.0, ngrams=()), learning_rate=1e-30)
    weights = []
    for name, micro_batches in (("one", 1), ("four", 4)):
        witness = Witness()
        train(replace(config, micro_batches=micro_batches), rows, [witness], folder=tmp_path / name)
        last = state_of(tmp_path / name / "last.pt")
        weights.append(last["resume"]["optimizer"]["parts"][0]["state"][0]["exp_avg"] / (1 - config.betas[0]))
    store = store_for(config, rows, tmp_path / "tokens")
    model = load_checkpoint(tmp_path / "one" / "last.pt").model
    loss, labels = masked_loss(model, collate(store.training[:]))
    (loss / labels).backward()  # type: ignore[no-untyped-call]

    characters = sum(example.code_characters for example in store.training)
    assert labels != characters
    assert witness.steps[0].train_loss == pytest.approx(loss.item() / characters, abs=1e-3)
    expected = model.token_embedding.weight.grad
    for gradient in weights:
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS[:1] * 20], ids=["none", "one", "one repeated"])
def test_too_few_prompts_is_one_clear_error(tmp_path: Path, rows: list[Row]) -> None:
    with pytest.raises(TrainingFailed, match="fewer than two distinct prompts") as caught:
        train(CONFIG, rows, folder=tmp_path)

    one_sentence(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_two_rows_are_enough(tmp_path: Path) -> None:
    assert metrics_of(train(replace(CONFIG, max_steps=2), ROWS[:2], folder=tmp_path)).training_rows == 1


def test_rows_that_are_all_too_long_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="within the context of 32 tokens: train with a larger") as caught:
        train(CONFIG, [Row("p" * 40 + str(i), "x") for i in range(20)], folder=tmp_path)

    one_sentence(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "other",
    [{"held_out_share": 0.2}, {"model": replace(CONFIG.model, context_length=48)}, {"tokenizer": "byte_pair"}],
    ids=["share", "context", "tokenizer"],
)
def test_a_store_that_was_prepared_for_another_configuration_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    store = store_for(CONFIG, ROWS, tmp_path / "tokens")

    with pytest.raises(TrainingFailed, match="prepared for another"):
        train(replace(CONFIG, **other), store, folder=tmp_path / "run")


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_steps": None, "max_seconds": None},
        {"micro_batches": 0},
        {"micro_batches": 9},
        {"held_out_share": 0.0},
        {"held_out_share": 1.0},
        {"evaluations": 0},
        {"patience": 0},
        {"learning_rate": 0.0},
        {"optimizer": "sgd"},
        {"precision": "fp16"},
        {"tokenizer": "words"},
    ],
    ids=str,
)
def test_a_configuration_that_no_run_could_have_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(CONFIG, **wrong)


# -- what it says under way


def test_progress_tells_step_losses_speed_and_the_seconds_left(tmp_path: Path) -> None:
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


def test_every_callback_is_told_and_any_one_may_stop_the_run(tmp_path: Path) -> None:
    witnesses = [Witness(), Witness()]

    result = train(CONFIG, ROWS, [witnesses[0], StopAfter(4), witnesses[1]], folder=tmp_path)

    assert result.reason is StopReason.STOP_REQUESTED
    assert [len(witness.steps) for witness in witnesses] == [4, 4]
    assert load_checkpoint(tmp_path / "last.pt").training["step"] == 4


def test_a_run_whose_process_dies_between_evaluations_goes_on_from_its_last_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dies(Callback):
        def on_step(self, progress: Progress) -> None:
            if progress.step == 7:
                raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_SAVE_EVERY_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(replace(CONFIG, evaluations=1), ROWS, [Dies()], folder=tmp_path)

    assert load_checkpoint(tmp_path / "last.pt").training["step"] == 6
