"""The loss: on the code alone, the same however the rows are grouped."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tinygpt.contracts.runs import Progress
from tinygpt.data.examples import IGNORED, Example, encode_examples
from tinygpt.data.rows import Row
from tinygpt.data.tokenizer import CharacterTokenizer
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT
from tinygpt.training import loss as loss_module
from tinygpt.training.batches import Batch, collate
from tinygpt.training.callbacks import Callback
from tinygpt.training.config import TrainConfig
from tinygpt.training.loss import FUTURE_WEIGHT, bits_per_character, masked_loss, training_loss, validation_loss
from tinygpt.training.run import token_store_for, train
from tinygpt.training.threads import threads

TOKENIZER = CharacterTokenizer.from_corpus([])
CONFIG = ModelConfig(vocab_size=TOKENIZER.vocab_size, context_length=48, layers=1, heads=2, width=16, dropout=0.0)
ROWS = [Row("p" * (1 + i % 7), "x" * (1 + 5 * (i % 6)) + str(i)) for i in range(40)]
"""From 2 to 28 characters of code, so that parts of a batch differ in their labelled tokens."""


def model(config: ModelConfig = CONFIG) -> TinyGPT:
    torch.manual_seed(0)
    return TinyGPT(config)


def examples(rows: list[Row] = ROWS) -> list[Example]:
    return encode_examples(rows, TOKENIZER, CONFIG.context_length)


def test_the_loss_is_the_cross_entropy_summed_over_the_labels() -> None:
    gpt, batch = model(), collate(examples())

    loss, labelled = masked_loss(gpt, batch)

    expected = F.cross_entropy(
        gpt(batch.ids).flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    torch.testing.assert_close(loss, expected)
    assert labelled == sum(len(row.code) + 1 for row in ROWS)


def test_several_threads_validate_every_row_without_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpt, rows = model(), examples([*ROWS, *(Row(f"q{i}", f"y{i}") for i in range(35))])
    alone = validation_loss(gpt, rows)
    with_gradient = []

    def watched(*arguments: object) -> object:
        with_gradient.append(torch.is_grad_enabled())
        return masked_loss(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loss_module, "masked_loss", watched)
    for number in (2, 3, 50):
        with threads(number) as several:
            assert validation_loss(gpt, rows, threads=several) == pytest.approx(alone, rel=1e-5)
    assert len(with_gradient) > 10
    assert not any(with_gradient)


def test_the_loss_does_not_look_at_how_well_the_prompt_is_predicted() -> None:
    gpt, (example,) = model(), examples([Row("abcdef", "1")])
    labelled = [label != IGNORED for label in example.labels]

    loss, _ = masked_loss(gpt, collate([example]))

    of_code = F.log_softmax(gpt(torch.tensor([example.ids])), dim=-1)[0, labelled]
    labels = torch.tensor([label for label in example.labels if label != IGNORED])
    torch.testing.assert_close(loss, -of_code[torch.arange(2), labels].sum())


def test_later_tokens_within_a_row_are_learned_with_their_weight() -> None:
    gpt, batch = model(replace(CONFIG, future_tokens=2)), collate(examples())
    torch.nn.init.normal_(gpt.get_parameter("future.1.weight"))

    loss, nats = training_loss(gpt, batch)

    assert nats == pytest.approx(masked_loss(gpt, batch)[0].item())
    of_later_tokens = torch.tensor(0.0)
    features = gpt.features(batch.ids)
    for ahead, transform in enumerate(gpt.future, 1):
        log_probabilities = F.log_softmax(gpt.head(features + transform(features)), dim=-1)
        for row, position in (batch.labels != IGNORED).nonzero().tolist():
            labels_after = batch.labels[row, position + ahead :]
            if len(labels_after) and labels_after[0] != IGNORED:
                of_later_tokens = of_later_tokens - log_probabilities[row, position, labels_after[0]]
    torch.testing.assert_close(loss - nats, FUTURE_WEIGHT * of_later_tokens)


def test_a_model_that_predicts_one_token_learns_by_that_loss_alone() -> None:
    gpt, batch = model(), collate(examples())

    loss, nats = training_loss(gpt, batch)

    torch.testing.assert_close(loss, masked_loss(gpt, batch)[0])
    assert nats == pytest.approx(loss.item())


def test_padding_adds_nothing_to_the_loss() -> None:
    gpt, batch = model(), collate(examples())
    wider = Batch(F.pad(batch.ids, (0, 5), value=0), F.pad(batch.labels, (0, 5), value=IGNORED))

    torch.testing.assert_close(masked_loss(gpt, wider)[0], masked_loss(gpt, batch)[0])


def test_gradients_summed_over_parts_are_those_of_the_whole() -> None:
    gradients = []
    for size in (40, 7):
        gpt = model()
        for start in range(0, 40, size):
            masked_loss(gpt, collate(examples()[start : start + size]))[0].backward()  # type: ignore[no-untyped-call]
        gradients.append([parameter.grad for parameter in gpt.parameters()])

    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-4)


def test_the_validation_loss_is_in_nats_per_character_of_code() -> None:
    gpt = model()
    torch.nn.init.zeros_(gpt.head.weight)  # every token is as likely as any other

    loss = validation_loss(gpt, examples())

    assert loss == pytest.approx(math.log(CONFIG.vocab_size), rel=1e-5)
    assert bits_per_character(loss) == pytest.approx(math.log2(CONFIG.vocab_size), rel=1e-5)


def test_the_validation_loss_weighs_characters_not_rows() -> None:
    gpt = model()
    total = sum(masked_loss(gpt, collate([example]))[0].item() for example in examples())

    assert validation_loss(gpt, examples()) == pytest.approx(total / sum(len(row.code) + 1 for row in ROWS), rel=1e-5)


def test_validation_is_without_dropout_and_leaves_the_model_in_training() -> None:
    gpt = model(replace(CONFIG, dropout=0.5)).train()

    losses = {validation_loss(gpt, examples()) for _ in range(2)}

    assert len(losses) == 1
    assert gpt.training


def test_the_validation_loss_polls_between_batches() -> None:
    polls: list[None] = []

    validation_loss(model(), examples() * 3, lambda: polls.append(None))

    assert len(polls) == math.ceil(len(ROWS) * 3 / 32)


def test_an_unmasked_run_learns_the_prompt_and_is_validated_on_the_code(tmp_path: Path) -> None:
    """An untrained network has the same loss everywhere, if it is divided by what is counted."""
    config = TrainConfig(
        model=replace(CONFIG, tie_weights=False),
        batch_size=8,
        max_steps=1,
        max_seconds=None,
        masked=False,
        learning_rate=1e-9,
        muon_learning_rate=1e-9,
        precision="fp32",
    )
    reported = LastProgress()

    result = train(config, ROWS, [reported], folder=tmp_path)

    assert reported.train_loss == pytest.approx(math.log(CONFIG.vocab_size), rel=0.02)
    held_out = token_store_for(config, ROWS, tmp_path / "tokens").held_out[:]
    assert result.metrics is not None
    assert result.metrics.validation_loss == pytest.approx(
        validation_loss(load_checkpoint(result.best).model, held_out), rel=1e-4
    )


class LastProgress(Callback):
    train_loss: float | None = None

    def on_step(self, progress: Progress) -> None:
        self.train_loss = progress.train_loss
