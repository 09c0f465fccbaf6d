"""The chapter's loop learns as the real loop does with the `classic` preset: the same losses, step by step."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tinygpt.classic.gpt import GPT
from tinygpt.classic.train import (
    IGNORED,
    Batch,
    Example,
    batches,
    make_batch,
    make_example,
    make_optimizer,
    train,
    validation_loss,
)
from tinygpt.data import examples as real_examples
from tinygpt.data.rows import Row
from tinygpt.data.split import split_rows
from tinygpt.data.tokenizer import CODE, EOS, PAD, PROMPT, CharacterTokenizer
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.batches import endless_batches
from tinygpt.training.config import PRESETS
from tinygpt.training.run import train as real_train

NAMES = ("n", "total", "the_number_of_rows")
ROWS = [Row(f"add {i} to {name}", f"{name} += {i}") for i in range(30) for name in NAMES]
TOKENIZER = CharacterTokenizer.from_corpus(())
STEPS = 60
"""More than the warm-up."""
CONFIG = replace(
    PRESETS["classic"],
    model=replace(PRESETS["classic"].model, vocab_size=TOKENIZER.vocab_size, dropout=0.0),
    batch_size=8,
    evaluations=1,
    max_seconds=None,
    max_steps=STEPS,
    threads=1,
)


def test_losses_are_those_of_the_real_loop(tmp_path: Path) -> None:
    real_train(CONFIG, ROWS, folder=tmp_path)
    checkpoint = load_checkpoint(tmp_path / "last.pt")
    expected = checkpoint.resume["recent_losses"]
    model = start()

    losses = list(train(model, make_optimizer(model), real_batches(), lambda step: step / STEPS))

    assert len(losses) == STEPS
    assert losses[-len(expected) :] == pytest.approx(expected, rel=2e-4)
    assert losses[-1] < losses[0] / 2
    for name, weight in checkpoint.model.named_parameters():
        assert torch.allclose(model.get_parameter(name), weight, atol=1e-3), name


def test_validation_loss_is_that_of_the_real_loop(tmp_path: Path) -> None:
    result = real_train(replace(CONFIG, max_steps=3), ROWS, folder=tmp_path)
    model = start()
    model.load_state_dict(load_checkpoint(tmp_path / "last.pt").model.state_dict())
    held_out = [make_example(TOKENIZER, row.prompt, row.code) for row in split_rows(ROWS).held_out]

    loss = validation_loss(model, held_out)

    assert result.metrics is not None
    assert loss == pytest.approx(result.metrics.validation_loss, rel=1e-5)


def test_an_example_learns_the_code_and_its_end_alone() -> None:
    ids, labels = make_example(TOKENIZER, "is n odd", "n % 2")

    code = TOKENIZER.encode("n % 2")
    assert ids == [PROMPT, *TOKENIZER.encode("is n odd"), CODE, *code]
    assert labels == [IGNORED] * 9 + [*code, EOS]


def test_a_batch_is_filled_up_on_the_right() -> None:
    ids, labels = make_batch([([7, 8, 9], [IGNORED, 9, EOS]), ([5], [6])])

    assert ids.tolist() == [[7, 8, 9], [5, PAD, PAD]]
    assert labels.tolist() == [[IGNORED, 9, EOS], [6, IGNORED, IGNORED]]


def test_an_epoch_has_every_example_once_and_the_next_one_another_order() -> None:
    examples: list[Example] = [([i], [i]) for i in range(70)]

    rows = [ids.flatten().tolist() for ids, _ in islice(batches(examples, seed=0), 6)]

    assert [len(row) for row in rows] == [32, 32, 6] * 2
    first, second = list(chain(*rows[:3])), list(chain(*rows[3:]))
    assert sorted(first) == sorted(second) == list(range(70))
    assert first != second
    assert rows == [ids.flatten().tolist() for ids, _ in islice(batches(examples, seed=0), 6)]


def test_training_has_dropout_and_validation_has_none() -> None:
    model = GPT(TOKENIZER.vocab_size)
    examples = [make_example(TOKENIZER, row.prompt, row.code) for row in ROWS[:8]]
    ids, labels = make_batch(examples)
    model.eval()
    plain = F.cross_entropy(model(ids).flatten(0, 1), labels.flatten(), ignore_index=IGNORED).item()

    model.train()
    validated = validation_loss(model, examples)
    (trained,) = train(model, make_optimizer(model), iter([(ids, labels)]), lambda _: 0.0)

    assert validated == pytest.approx(plain, rel=1e-5)
    assert trained != pytest.approx(plain, rel=1e-5)


def test_training_ends_with_its_budget() -> None:
    model = GPT(TOKENIZER.vocab_size)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}

    assert list(train(model, make_optimizer(model), real_batches(), lambda _: 1.0)) == []
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def start() -> GPT:
    """The weights that the real loop starts with."""
    torch.manual_seed(CONFIG.seed)
    weights = TinyGPT(CONFIG.model).state_dict()
    model = GPT(TOKENIZER.vocab_size, dropout=0.0)
    model.load_state_dict(weights)
    return model


def real_batches() -> Iterator[Batch]:
    """The rows that the real loop learns from, step by step."""
    training = real_examples.encode_examples(split_rows(ROWS).training, TOKENIZER, 256)
    lengths = np.array([len(example.ids) for example in training], np.int32)
    for groups in endless_batches(lengths, CONFIG.batch_size, seed=CONFIG.seed):
        yield make_batch([(training[i].ids, training[i].labels) for group in groups for i in group])
