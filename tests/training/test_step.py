"""A step: which rows it learns from, and what its gradient and its reported loss are divided by."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.checkpoints import state_of
from tests.training.small_runs import CONFIG, ROWS, Witness, metrics_of
from tinygpt.data.rows import Row
from tinygpt.data.tokenizer import TokenizerKind
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.training.batches import collate
from tinygpt.training.loss import masked_loss
from tinygpt.training.run import token_store_for, train


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
    store = token_store_for(config, rows, tmp_path / "tokens")
    model = load_checkpoint(tmp_path / "one" / "last.pt").model
    loss, labels = masked_loss(model, collate(store.training[:]))
    (loss / labels).backward()  # type: ignore[no-untyped-call]

    characters = sum(example.code_characters for example in store.training)
    assert labels != characters
    assert witness.steps[0].train_loss == pytest.approx(loss.item() / characters, abs=1e-3)
    expected = model.token_embedding.weight.grad
    for gradient in weights:
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)
