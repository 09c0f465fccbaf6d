"""What a request may name: every preset there is, and the tutorial's way among them."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from tinygpt.contracts.runs import TrainRequest
from tinygpt.data.rows import Row
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.model.config import ModelConfig
from tinygpt.training import optimizer
from tinygpt.training.config import PRESETS, config_from_request
from tinygpt.training.run import train

ROWS = [Row(f"add {i} to x", f"x + {i}") for i in range(60)]


def test_requests_may_name_every_preset() -> None:
    assert set(get_args(TrainRequest.model_fields["preset"].annotation)) == set(PRESETS)


def test_classic_is_the_tutorials_configuration_with_the_time_of_the_default() -> None:
    classic = config_from_request(TrainRequest(preset="classic"))

    assert classic.model == ModelConfig()
    assert (classic.model.layers, classic.model.width, classic.model.heads, classic.model.dropout) == (2, 128, 4, 0.1)
    assert (classic.model.positions, classic.model.qk_norm) == ("learned", False)
    assert (classic.model.convolution, classic.model.ngrams) == (0, ())
    assert (classic.optimizer, classic.learning_rate, classic.weight_decay) == ("adamw", 1e-3, 0.1)
    assert (classic.precision, classic.batch_size) == ("fp32", 32)
    assert classic.decay_from == 0.0
    assert (classic.max_seconds, classic.max_steps) == (PRESETS["default"].max_seconds, None)


def test_classic_trains_in_fp32_with_adamw_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any) -> None:
        pytest.fail("an optimiser other than AdamW")

    monkeypatch.setattr(optimizer, "Muon", refuse)
    monkeypatch.setattr(optimizer, "RowwiseAdagrad", refuse)
    request = TrainRequest(preset="classic", max_steps=4, context_length=32, batch_size=4)

    train(replace(config_from_request(request, threads=1), evaluations=1), ROWS, folder=tmp_path)

    last = load_checkpoint(tmp_path / "last.pt")
    assert {weight.dtype for weight in last.model.parameters()} == {torch.float32}
    (adamw,) = last.resume["optimizer"]["parts"]
    assert all({"exp_avg", "exp_avg_sq"} <= state.keys() for state in adamw["state"].values())
    assert len(adamw["state"]) == len(list(last.model.parameters()))
