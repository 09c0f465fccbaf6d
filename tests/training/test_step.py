"""A step: which rows it learns from, and what its gradient and its reported loss are divided by."""

from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch

from tests.training.small_runs import CONFIG, ROWS, Witness, metrics_of
from tinygpt.data.rows import Row
from tinygpt.data.tokenizer import TokenizerKind
from tinygpt.training.batches import collate
from tinygpt.training.distributed import ALONE
from tinygpt.training.loss import masked_loss
from tinygpt.training.run import token_store_for, train
from tinygpt.training.schedule import learning_rate_scale
from tinygpt.training.state import TrainingState
from tinygpt.training.step import StepResult, take_step
from tinygpt.training.threads import threads
from tinygpt.training.token_store import TokenStore


def test_rows_whose_code_is_cut_off_never_reach_the_loss(tmp_path: Path) -> None:
    cut_off = [Row(f"{i:03} " + "very long " * 10, "x") for i in range(40)]
    witness = Witness()

    result = train(CONFIG, [*ROWS, *cut_off], [witness], folder=tmp_path)

    assert 40 <= metrics_of(result).training_rows < 60
    assert metrics_of(result).training_rows + metrics_of(result).validation_rows == 60
    assert all(progress.train_loss is not None and progress.train_loss > 0 for progress in witness.steps)


def test_a_batch_size_beyond_the_rows_is_no_problem(tmp_path: Path) -> None:
    assert train(replace(CONFIG, batch_size=1000, max_steps=2), ROWS, folder=tmp_path).steps == 2


@pytest.mark.parametrize("tokenizer", ["characters", "byte_pair"])
def test_rows_of_one_character_train_to_an_end(tmp_path: Path, tokenizer: TokenizerKind) -> None:
    rows = [Row("a" * (i + 1), "a") for i in range(20)]

    result = train(replace(CONFIG, tokenizer=tokenizer, max_steps=100), rows, folder=tmp_path)

    assert result.steps == 100
    assert metrics_of(result).validation_loss < 1


def test_two_rows_are_enough(tmp_path: Path) -> None:
    assert metrics_of(train(replace(CONFIG, max_steps=2), ROWS[:2], folder=tmp_path)).training_rows == 1


BYTE_PAIRS = [Row(f"{i} {word}", f"{word} = {i} * 'ü'") for i, word in enumerate(["apple", "pear", "plum"] * 20)]
"""Byte-pair tokens stand for several characters, or for less than one."""


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return token_store_for(replace(CONFIG, tokenizer="byte_pair"), BYTE_PAIRS, tmp_path / "tokens")


def step_of(store: TokenStore, parts: int, thread_count: int = 1) -> tuple[StepResult, TrainingState]:
    """A step on all rows in so many groups, whose optimiser leaves gradients and weights as they are."""
    model = replace(CONFIG.model, dropout=0.0, ngrams=())
    state = TrainingState(replace(CONFIG, model=model), store.tokenizer, torch.empty(0), store.data_sha256, ALONE)
    state.optimizer = mock.Mock()
    rows = store.training[:]
    with threads(thread_count) as pool:
        result = take_step(state, [rows[i::parts] for i in range(parts)], epoch=0, budget_used=0.0, threads=pool)
    return result, state


def test_the_gradient_is_per_label_and_the_reported_loss_per_character(store: TokenStore) -> None:
    result, state = step_of(store, parts=1)
    gradients = [weight.grad for weight in state.weights]
    state.model.zero_grad()

    loss, labels = masked_loss(state.model, collate(store.training[:]))
    (loss / labels).backward()  # type: ignore[no-untyped-call]

    characters = sum(example.code_characters for example in store.training)
    assert result.labelled_tokens == labels != characters
    assert result.loss == pytest.approx(loss.item() / characters, rel=1e-5)
    torch.testing.assert_close(gradients, [weight.grad for weight in state.weights], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("parts", "thread_count"), [(2, 1), (7, 1), (1, 3), (2, 4)])
def test_groups_and_threads_change_neither_gradient_nor_loss(store: TokenStore, parts: int, thread_count: int) -> None:
    whole, one = step_of(store, parts=1)
    divided, several = step_of(store, parts, thread_count)

    assert divided.loss == pytest.approx(whole.loss, rel=1e-5)
    gradients = [[weight.grad for weight in state.weights] for state in (several, one)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_a_step_scales_the_learning_rate_by_warm_up_and_budget(store: TokenStore) -> None:
    _, state = step_of(store, parts=1)

    (scale, _), _ = state.optimizer.step.call_args  # type: ignore[attr-defined]
    assert scale == learning_rate_scale(CONFIG, 0, 0.0)
    assert (state.step, len(state.recent_losses)) == (1, 1)
