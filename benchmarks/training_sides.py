"""The two ways to train that `bench_train.py` compares: this project's, and the tutorial's padded one.

Both see the same examples and are scored by nats per labelled token (a character of code, `<EOS>`) over all validation
rows. Only the optimiser's time counts: drawing and collating a batch, its gradient, the update.
"""

import contextlib
import importlib.util
import io
import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinygpt.data.examples import IGNORED, Example, encode_examples
from tinygpt.data.rows import read_rows
from tinygpt.data.split import split_rows
from tinygpt.data.tokenizer import PAD, Tokenizer
from tinygpt.data.tokenizer_kinds import make_tokenizer
from tinygpt.model.config import SIZES, ModelConfig
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.batches import batch_count, collate, endless_batches
from tinygpt.training.config import PRESETS, TrainConfig
from tinygpt.training.distributed import ALONE
from tinygpt.training.frequent_ngrams import frequent_ngrams
from tinygpt.training.loss import validation_loss
from tinygpt.training.state import TrainingState
from tinygpt.training.step import take_step
from tinygpt.training.threads import threads

Size = Literal["tiny", "small"]
BASELINE_NETWORKS: dict[Size, ModelConfig] = {
    "tiny": ModelConfig(layers=2, heads=4, width=128, dropout=0.0),
    "small": ModelConfig(layers=4, heads=8, width=256, dropout=0.0),
}
"""The network of the preset `classic` in two sizes. Without dropout it learns faster in such a short run."""

_NANOGPT_IGNORED = -1
_ROWS_AT_ONCE = 32


@dataclass(frozen=True)
class Data:
    """The examples of both sides, cut to the context, and the tokenizer, made from the training rows."""

    tokenizer: Tokenizer
    training: list[Example]
    validation: list[Example]


def load_data(training: Path, validation: Path | None, context_length: int) -> Data:
    """The rows of two files, or the split of one. Raises `InvalidDataset`."""
    rows = read_rows(training)
    if validation is not None:
        held_out = read_rows(validation)
    else:
        split = split_rows(rows)
        rows, held_out = split.training, split.held_out
    tokenizer = make_tokenizer("characters", (text for row in rows for text in (row.prompt, row.code)))
    return Data(
        tokenizer,
        encode_examples(rows, tokenizer, context_length),
        encode_examples(held_out, tokenizer, context_length),
    )


class Side(Protocol):
    """A network in training."""

    def step(self, used: float) -> int:
        """One optimiser step, when the share `used` of the budget is used. Returns its labelled tokens."""

    def validation_loss(self) -> float:
        """Nats per labelled token over all validation rows."""


# -- this project's


def project_config(network: ModelConfig, data: Data, context_length: int, seed: int) -> TrainConfig:
    """The `default` preset with another network, and 16 rows a step.

    These rows are few and five times as long as the preset's: they are learned fastest in small steps
    (docs/experiments.md).
    """
    model = replace(network, context_length=context_length, vocab_size=data.tokenizer.vocab_size)
    return replace(PRESETS["default"], model=model, batch_size=16, seed=seed)


class ProjectLoop:
    """The steps of `tinygpt.training.run`, without callbacks and checkpoints."""

    def __init__(
        self, config: TrainConfig, tokenizer: Tokenizer, training: Sequence[Example], validation: Sequence[Example]
    ) -> None:
        self.training = training
        self.validation = validation
        lengths = np.array([len(example.ids) for example in training], dtype=np.int32)
        ngrams = frequent_ngrams(config.model, training, lengths)
        self.state = TrainingState(config, tokenizer, ngrams, data_sha256="", world=ALONE)
        self.model = self.state.model.train()
        self.threads = contextlib.ExitStack().enter_context(threads(torch.get_num_threads()))  # until the process ends
        self.batches = endless_batches(lengths, config.batch_size, seed=config.seed)
        self.steps_of_an_epoch = batch_count(len(lengths), config.batch_size)

    def step(self, used: float) -> int:
        return self.learn(self.next_groups(), used)

    def next_groups(self) -> list[list[Example]]:
        """The rows of the next step."""
        return [[self.training[i] for i in group] for group in next(self.batches)]

    def learn(self, groups: Sequence[Sequence[Example]], used: float) -> int:
        epoch = self.state.step // self.steps_of_an_epoch
        return take_step(self.state, groups, epoch=epoch, budget_used=used, threads=self.threads).labelled_tokens

    def validation_loss(self) -> float:
        return validation_loss(self.model, self.validation)


# -- the tutorial's


MeanLoss = Callable[[Tensor, Tensor], Tensor]
"""Mean cross-entropy over the labelled positions of ids and labels, each (rows, time)."""


class PaddedLoop:
    """fp32, AdamW, cosine schedule, a masked loss. Rows are padded to the context, and every position has logits."""

    batch_size = 32
    learning_rate = 1e-3
    warmup_steps = 50
    final_share = 0.1
    """Of the learning rate, at the end of the cosine schedule."""

    def __init__(self, network: nn.Module, mean_loss: MeanLoss, data: Data, context_length: int, seed: int) -> None:
        self.network = network.train()
        self.mean_loss = mean_loss
        self.data = data
        self.context_length = context_length
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=self.learning_rate, betas=(0.9, 0.95), weight_decay=0.1
        )
        self.order = self._shuffled(random.Random(seed))
        self.steps = 0

    def step(self, used: float) -> int:
        ids, labels = self._padded(next(self.order), self.context_length)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * self._scale(used)
        self.optimizer.zero_grad(set_to_none=True)
        self.mean_loss(ids, labels).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.steps += 1
        return int((labels != IGNORED).sum())

    @torch.no_grad()
    def validation_loss(self) -> float:
        self.network.eval()
        nats, tokens = 0.0, 0
        by_length = sorted(self.data.validation, key=lambda example: len(example.ids))
        for start in range(0, len(by_length), _ROWS_AT_ONCE):
            rows = by_length[start : start + _ROWS_AT_ONCE]
            ids, labels = self._padded(rows, max(len(row.ids) for row in rows))
            labelled = int((labels != IGNORED).sum())
            nats += self.mean_loss(ids, labels).item() * labelled
            tokens += labelled
        self.network.train()
        return nats / tokens

    def _shuffled(self, rng: random.Random) -> Iterator[list[Example]]:
        """Full batches, epoch after epoch."""
        rows = list(self.data.training)
        size = min(self.batch_size, len(rows))
        while True:
            rng.shuffle(rows)
            for start in range(0, len(rows) - size + 1, size):
                yield rows[start : start + size]

    def _scale(self, used: float) -> float:
        cosine = (1 + math.cos(math.pi * used)) / 2
        return min((self.steps + 1) / self.warmup_steps, self.final_share + (1 - self.final_share) * cosine)

    @staticmethod
    def _padded(rows: Sequence[Example], time: int) -> tuple[Tensor, Tensor]:
        batch = collate(rows)
        missing = (0, time - batch.ids.size(1))
        return F.pad(batch.ids, missing, value=PAD), F.pad(batch.labels, missing, value=IGNORED)


def padded_network(
    size: Size, vocab_size: int, context_length: int, nanogpt: Path | None
) -> tuple[nn.Module, MeanLoss]:
    """The network that the padded loop trains: nanoGPT's from a checkout, or that of `classic`, which equals it.

    Raises `FileNotFoundError` if the checkout has no `model.py`.
    """
    shape = replace(BASELINE_NETWORKS[size], vocab_size=vocab_size, context_length=context_length)
    if nanogpt is not None:
        return _nanogpt_network(shape, nanogpt)
    network = TinyGPT(shape)

    def mean_loss(ids: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(network(ids).flatten(0, 1), labels.flatten(), ignore_index=IGNORED)

    return network, mean_loss


def _nanogpt_network(shape: ModelConfig, checkout: Path) -> tuple[nn.Module, MeanLoss]:
    module = imported(checkout / "model.py")
    config = module.GPTConfig(
        block_size=shape.context_length,
        vocab_size=shape.vocab_size,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_embd=shape.width,
        dropout=shape.dropout,
        bias=True,
    )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the number of parameters
        network: nn.Module = module.GPT(config)

    def mean_loss(ids: Tensor, labels: Tensor) -> Tensor:
        _, loss = network(ids, labels.masked_fill(labels == IGNORED, _NANOGPT_IGNORED))
        assert isinstance(loss, Tensor)
        return loss

    return network, mean_loss


def imported(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("nanogpt_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    return module


# -- a run


SideName = Literal["ours", "baseline", "same network"]
"""`same network`: this project's loop with the baseline's network, to compare the loops alone."""


def make_side(name: SideName, size: Size, data: Data, context_length: int, seed: int, nanogpt: Path | None) -> Side:
    torch.manual_seed(seed)
    if name == "baseline":
        network, mean_loss = padded_network(size, data.tokenizer.vocab_size, context_length, nanogpt)
        return PaddedLoop(network, mean_loss, data, context_length, seed)
    network_config = SIZES[size] if name == "ours" else BASELINE_NETWORKS[size]
    config = project_config(network_config, data, context_length, seed)
    return ProjectLoop(config, data.tokenizer, data.training, data.validation)
