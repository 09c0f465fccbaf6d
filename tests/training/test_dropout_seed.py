"""Dropout in a step: other units in every step, with every seed and in every process, the same if it is repeated."""

from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch

from tests.training.small_runs import CONFIG, ROWS
from tinygpt.training.distributed import ALONE, World
from tinygpt.training.run import token_store_for
from tinygpt.training.state import TrainingState
from tinygpt.training.step import take_step
from tinygpt.training.token_store import TokenStore


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return token_store_for(CONFIG, ROWS, tmp_path / "tokens")


def loss_of_step(store: TokenStore, *, step: int = 0, seed: int = 0, rank: int = 0) -> float:
    """The loss of one step of the same rows and weights: it differs only by what dropout leaves out."""
    model = replace(CONFIG.model, dropout=0.5, ngrams=())
    state = TrainingState(replace(CONFIG, model=model), store.tokenizer, torch.empty(0), store.data_sha256, ALONE)
    state.config = replace(state.config, seed=seed)
    state.optimizer = mock.Mock()
    state.model.train()
    state.step = step
    torch.manual_seed(123)  # what ran before must not matter
    return take_step(state, [store.training[:]], epoch=0, budget_used=0.0, world=_as_process(rank)).loss


def _as_process(rank: int) -> World:
    world = mock.Mock(wraps=ALONE)
    world.rank = rank
    return world


def test_each_step_seed_and_process_drops_other_units(store: TokenStore) -> None:
    losses = [
        loss_of_step(store),
        *(loss_of_step(store, step=step) for step in (1, 2, 3)),
        *(loss_of_step(store, seed=seed) for seed in (1, 2)),
        *(loss_of_step(store, rank=rank) for rank in (1, 2)),
    ]

    assert len(set(losses)) == len(losses)


def test_the_same_step_drops_the_same_units_again(store: TokenStore) -> None:
    assert loss_of_step(store, step=7, seed=3) == loss_of_step(store, step=7, seed=3)
