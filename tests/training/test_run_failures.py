"""What ends a run with an error: the error is one clear sentence, and earlier checkpoints stay."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.full_disk import full_disk
from tests.training.small_runs import CONFIG, ROWS, NoLease, StopAfter, one_sentence
from tinygpt.contracts.errors import LeaseLost, StorageFull, TrainingFailed
from tinygpt.data.rows import Row
from tinygpt.durable import sha256_of
from tinygpt.training import step as step_module
from tinygpt.training.run import token_store_for, train


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


def test_a_full_disk_is_one_clear_error_and_earlier_checkpoints_stay(tmp_path: Path) -> None:
    train(CONFIG, ROWS, [StopAfter(12)], folder=tmp_path)
    before = {path.name: sha256_of(path) for path in tmp_path.iterdir()}

    with full_disk(room=8192), pytest.raises(StorageFull, match=r"best\.pt|last\.pt") as caught:
        train(CONFIG, ROWS, folder=tmp_path)

    one_sentence(caught.value)
    assert {path.name: sha256_of(path) for path in tmp_path.iterdir()} == before


def test_a_loss_that_is_not_a_number_says_what_to_lower(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match=r"The loss became (nan|inf) at step 1: train with a lower") as caught:
        train(replace(CONFIG, learning_rate=5e39), ROWS, folder=tmp_path)

    one_sentence(caught.value)
    assert not (tmp_path / "last.pt").exists()


def test_weights_that_overflow_are_never_written(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingFailed, match=r"weights overflowed by step 1, so last\.pt .* lower learning_rate"
    ) as caught:
        train(replace(CONFIG, learning_rate=1e41), ROWS, [StopAfter(1)], folder=tmp_path)

    one_sentence(caught.value)
    assert not (tmp_path / "last.pt").exists()


def test_a_validation_loss_that_is_not_a_number_writes_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match=r"The validation loss became (nan|inf) at step 1: train with a") as caught:
        train(replace(CONFIG, learning_rate=1e41, max_steps=1), ROWS, folder=tmp_path)

    one_sentence(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["training_rows.jsonl"]


def test_running_out_of_memory_says_what_to_make_smaller(tmp_path: Path) -> None:
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
def test_running_out_of_memory_in_a_step_leaves_earlier_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def out_of_memory(*_arguments: object) -> None:
        raise error

    train(CONFIG, ROWS, [StopAfter(12)], folder=tmp_path)
    before = {path.name: sha256_of(path) for path in tmp_path.iterdir()}
    monkeypatch.setattr(step_module, "training_loss", out_of_memory)

    with pytest.raises(TrainingFailed, match="Memory ran out"):
        train(CONFIG, ROWS, folder=tmp_path)

    assert {path.name: sha256_of(path) for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS[:1] * 20], ids=["none", "one", "one repeated"])
def test_too_few_prompts_is_one_clear_error(tmp_path: Path, rows: list[Row]) -> None:
    with pytest.raises(TrainingFailed, match="fewer than two distinct prompts") as caught:
        train(CONFIG, rows, folder=tmp_path)

    one_sentence(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_rows_that_are_all_too_long_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="within the context of 32 tokens: train with a larger") as caught:
        train(CONFIG, [Row("p" * 40 + str(i), "x") for i in range(20)], folder=tmp_path)

    one_sentence(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "other",
    [{"model": replace(CONFIG.model, context_length=48)}, {"tokenizer": "byte_pair"}],
    ids=["context", "tokenizer"],
)
def test_a_store_prepared_for_another_configuration_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    store = token_store_for(CONFIG, ROWS, tmp_path / "tokens")

    with pytest.raises(TrainingFailed, match="prepared for another"):
        train(replace(CONFIG, **other), store, folder=tmp_path / "run")


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_steps": None, "max_seconds": None},
        {"batch_size": 0},
        {"decay_from": 1.0},
        {"ngram_dropout": 1.0},
        {"evaluations": 0},
        {"patience": 0},
        {"learning_rate": 0.0},
        {"optimizer": "sgd"},
        {"precision": "fp16"},
        {"tokenizer": "words"},
    ],
    ids=str,
)
def test_an_impossible_configuration_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(CONFIG, **wrong)
