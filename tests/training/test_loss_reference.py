"""What a step is learned by, against sums over single positions in float64."""

from dataclasses import replace

import pytest
import torch

from tests.known_ngrams import know_ngrams
from tinygpt.data.examples import IGNORED, encode_examples
from tinygpt.data.rows import Row
from tinygpt.data.tokenizer import CharacterTokenizer
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.batches import Batch, collate
from tinygpt.training.loss import masked_loss, training_loss

TOKENIZER = CharacterTokenizer.from_corpus([])
CONFIG = ModelConfig(
    vocab_size=TOKENIZER.vocab_size,
    context_length=32,
    layers=1,
    heads=2,
    width=16,
    dropout=0.0,
    ngrams=(2, 3),
    ngram_rows=4096,
    future_tokens=2,
)
BATCH = collate(encode_examples([Row("ab", "xyz"), Row("abcd", "y"), Row("a", "zzyyx")], TOKENIZER, 32))


def model() -> TinyGPT:
    torch.manual_seed(0)
    gpt = know_ngrams(TinyGPT(CONFIG), BATCH.ids)
    assert gpt.ngram_embedding is not None
    torch.nn.init.normal_(gpt.ngram_embedding.table.weight)
    return gpt


def nats(gpt: TinyGPT, batch: Batch, ahead: int) -> float:
    """Of the label `ahead` positions after each labelled one, if its row still has one."""
    features = gpt.features(batch.ids)
    logits = gpt.head(features) if ahead == 0 else list(gpt.future_logits(features))[ahead - 1]
    logprobs = logits.double().log_softmax(-1)
    total = 0.0
    for row, labels in enumerate(batch.labels.tolist()):
        for position, label in enumerate(labels):
            later = labels[position + ahead] if position + ahead < len(labels) else IGNORED
            if IGNORED not in (label, later):
                total -= logprobs[row, position, later].item()
    return total


def test_a_step_learns_the_next_token_and_less_so_the_two_after_it() -> None:
    gpt = model()

    loss, reported = training_loss(gpt, BATCH)

    assert reported == pytest.approx(nats(gpt, BATCH, 0), rel=1e-5)
    expected = nats(gpt, BATCH, 0) + 0.3 * (nats(gpt, BATCH, 1) + nats(gpt, BATCH, 2))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_ngrams_count_as_their_weights_say() -> None:
    gpt = model()
    ones, none = torch.ones(BATCH.ids.shape), torch.zeros(BATCH.ids.shape)

    whole, _ = masked_loss(gpt, BATCH)
    with_ones, _ = masked_loss(gpt, replace(BATCH, ngram_weights=ones))
    without, _ = masked_loss(gpt, replace(BATCH, ngram_weights=none))
    _, reported = training_loss(gpt, replace(BATCH, ngram_weights=none))
    assert gpt.ngram_embedding is not None
    with torch.no_grad():
        gpt.ngram_embedding.table.weight.zero_()
    expected, _ = masked_loss(gpt, BATCH)

    assert with_ones.item() == pytest.approx(whole.item())
    assert without.item() == pytest.approx(expected.item()) == reported
    assert without.item() != pytest.approx(whole.item())
