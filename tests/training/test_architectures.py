"""Every architecture learns, in both number formats and with either optimiser."""

from pathlib import Path
from typing import Literal

import pytest
import torch

from tests.known_ngrams import know_ngrams
from tinygpt.contracts.runs import Progress
from tinygpt.data.rows import Row
from tinygpt.model.config import Architecture, ModelConfig
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.callbacks import Callback
from tinygpt.training.config import Precision, TrainConfig
from tinygpt.training.optimizer import Optimizers
from tinygpt.training.run import train

ROWS = [Row(f"add {i} to x", f"x + {i}") for i in range(60)]


class Losses(Callback):
    def __init__(self) -> None:
        self.validation: list[float] = []

    def on_evaluation(self, progress: Progress) -> None:
        assert progress.validation_loss is not None
        self.validation.append(progress.validation_loss)


@pytest.mark.parametrize("architecture", ["lstm", "mamba"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_few_dozen_steps_lower_the_loss(architecture: Architecture, precision: Precision, tmp_path: Path) -> None:
    config = TrainConfig(
        model=ModelConfig(context_length=32, layers=2, heads=2, width=16, dropout=0.0, architecture=architecture),
        batch_size=8,
        max_steps=40,
        max_seconds=None,
        evaluations=40,
        patience=40,
        precision=precision,
    )
    losses = Losses()

    train(config, ROWS, [losses], folder=tmp_path)

    assert losses.validation[-1] < 0.6 * losses.validation[0]


@pytest.mark.parametrize("architecture", ["transformer", "lstm", "mamba"])
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_every_weight_takes_part_in_a_step(architecture: Architecture, optimizer: Literal["muon", "adamw"]) -> None:
    torch.manual_seed(0)
    config = TrainConfig(
        model=ModelConfig(context_length=32, layers=2, heads=2, width=16, ngrams=(2,), architecture=architecture),
        optimizer=optimizer,
    )
    model = know_ngrams(TinyGPT(config.model))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}

    model(torch.randint(5, 100, (4, 32))).square().sum().backward()
    Optimizers(model, config).step(1.0)

    assert [name for name, weight in model.named_parameters() if torch.equal(weight, before[name])] == []
