"""Interrupted runs resume to the same bits; a `last.pt` of another run is refused."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.checkpoints import differences, state_of
from tests.training.small_runs import (
    CONFIG,
    HOPELESS,
    ROWS,
    Clock,
    FailAfter,
    StopAfter,
    Witness,
    metrics_of,
    one_sentence,
)
from tinygpt.contracts.errors import InvalidCheckpoint, TrainingFailed
from tinygpt.contracts.runs import Progress
from tinygpt.data.rows import Row, read_rows, write_rows
from tinygpt.data.split import split_rows
from tinygpt.durable import sha256_of
from tinygpt.model.checkpoint import load_checkpoint, save_checkpoint
from tinygpt.training import precision
from tinygpt.training import run as run_module
from tinygpt.training.callbacks import Callback, StopReason
from tinygpt.training.config import TrainConfig
from tinygpt.training.run import token_store_for, train


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(CONFIG, ROWS, folder=folder)
    return folder


@pytest.mark.parametrize("stops", [[1], [10], [13], [29], [4, 12, 23]], ids=str)
def test_a_stopped_run_resumes_to_the_same_bits(tmp_path: Path, uninterrupted: Path, stops: list[int]) -> None:
    for stop in stops:
        torch.manual_seed(stop)  # whatever another process left behind
        stopped = train(CONFIG, ROWS, [StopAfter(stop)], folder=tmp_path)
        assert (stopped.reason, stopped.steps) == (StopReason.STOP_REQUESTED, stop)
    resumed = train(CONFIG, ROWS, folder=tmp_path)

    assert resumed.reason is StopReason.MAX_STEPS
    for name in ("last.pt", "best.pt"):
        assert differences(state_of(tmp_path / name), state_of(uninterrupted / name)) == []


@pytest.mark.parametrize("step", [3, 17])
def test_a_killed_run_resumes_from_its_last_checkpoint_to_the_same_bits(
    tmp_path: Path, uninterrupted: Path, step: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, ROWS, [FailAfter(step)], folder=tmp_path)
    witness = Witness()
    train(CONFIG, ROWS, [witness], folder=tmp_path)

    assert [progress.step for progress in witness.started] == [10 if step > 10 else 0]
    assert differences(state_of(tmp_path / "last.pt"), state_of(uninterrupted / "last.pt")) == []


def test_a_run_on_a_store_resumes_to_the_bits_of_a_run_on_its_rows(tmp_path: Path, uninterrupted: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    for stops in ([StopAfter(13)], []):
        store = token_store_for(CONFIG, tmp_path / "rows.jsonl", tmp_path / "tokens")
        train(CONFIG, store, stops, folder=tmp_path / "run")

    for name in ("last.pt", "best.pt"):
        assert differences(state_of(tmp_path / "run" / name), state_of(uninterrupted / name)) == []
    training = tmp_path / "run" / "training_rows.jsonl"
    assert read_rows(training) == read_rows(uninterrupted / "training_rows.jsonl") == split_rows(ROWS).training


def test_a_run_is_saved_between_evaluations_in_case_its_process_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dies(Callback):
        def on_step(self, progress: Progress) -> None:
            if progress.step == 7:
                raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "_SAVE_EVERY_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(replace(CONFIG, evaluations=1), ROWS, [Dies()], folder=tmp_path)

    assert load_checkpoint(tmp_path / "last.pt").training["step"] == 6


def test_a_resumed_run_has_only_the_seconds_that_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, max_steps=None, max_seconds=200.0)
    steps = []
    for folder, stops in ((tmp_path / "whole", []), (tmp_path / "stopped", [StopAfter(10)])):
        monkeypatch.setattr(run_module, "time", Clock())
        steps.append(train(config, ROWS, stops, folder=folder).steps)
    monkeypatch.setattr(run_module, "time", Clock())
    resumed = train(config, ROWS, folder=tmp_path / "stopped")

    assert steps[1] == 10
    assert metrics_of(resumed).seconds >= 200
    assert 10 < resumed.steps <= steps[0] + 1


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


def test_a_worker_with_other_threads_may_resume(tmp_path: Path) -> None:
    train(replace(CONFIG, threads=1), ROWS, [StopAfter(5)], folder=tmp_path)

    assert train(CONFIG, ROWS, folder=tmp_path).steps == 30


@pytest.mark.parametrize("in_bf16", [(True, False), (False, True)], ids=["bf16, fp32", "fp32, bf16"])
def test_a_machine_that_computes_in_another_format_may_resume(
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
def test_the_checkpoint_of_another_run_is_refused_and_left_untouched(
    tmp_path: Path, config: TrainConfig, rows: list[Row]
) -> None:
    train(CONFIG, ROWS, [StopAfter(12)], folder=tmp_path)
    before = {path.name: sha256_of(path) for path in tmp_path.iterdir()}

    with pytest.raises(TrainingFailed, match="other settings or other data") as caught:
        train(config, rows, folder=tmp_path)

    assert str(tmp_path / "last.pt") in one_sentence(caught.value)
    assert {path.name: sha256_of(path) for path in tmp_path.iterdir()} == before


REMOVED = {
    "micro_batches": 1,
    "muon_momentum": 0.9,
    "warmup_steps": 50,
    "future_weight": 0.3,
    "betas": (0.9, 0.95),
    "gradient_clip": 1.0,
    "held_out_share": 0.1,
}
"""What `last.pt` had beside today's options when these could be set."""


def test_a_checkpoint_with_options_that_were_removed_resumes(tmp_path: Path, uninterrupted: Path) -> None:
    train(CONFIG, ROWS, [StopAfter(12)], folder=tmp_path)
    saved = load_checkpoint(tmp_path / "last.pt")
    saved.training["config"] |= REMOVED
    saved.training["config"]["model"]["attention_dropout"] = 0.0
    save_checkpoint(saved, tmp_path / "last.pt")

    assert train(CONFIG, ROWS, folder=tmp_path).steps == 30
    assert differences(state_of(tmp_path / "last.pt"), state_of(uninterrupted / "last.pt")) == []


@pytest.mark.parametrize(("name", "value"), [("gradient_clip", 2.0), ("betas", (0.9, 0.99)), ("micro_batches", 4)])
def test_a_removed_option_that_had_another_value_is_one_clear_error(tmp_path: Path, name: str, value: object) -> None:
    train(CONFIG, ROWS, [StopAfter(5)], folder=tmp_path)
    saved = load_checkpoint(tmp_path / "last.pt")
    saved.training["config"] |= REMOVED | {name: value}
    save_checkpoint(saved, tmp_path / "last.pt")

    with pytest.raises(TrainingFailed, match=rf"last\.pt was trained with {name}=") as caught:
        train(CONFIG, ROWS, folder=tmp_path)

    assert f"this version has only {name}={REMOVED[name]!r}" in one_sentence(caught.value)


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
