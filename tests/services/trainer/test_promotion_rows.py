"""Which of two models is served: both scored on the same rows, and a tie changes nothing."""

from collections.abc import Callable
from typing import Literal

import pytest
import torch

from services.trainer.promotion import decide_promotion
from tests.services.conftest import StoreModel, write_manifest
from tinygpt.contracts.errors import LeaseLost
from tinygpt.contracts.models import BEST_CHECKPOINT
from tinygpt.contracts.runs import Promotion
from tinygpt.data.examples import encode_examples
from tinygpt.data.rows import Row
from tinygpt.data.tokenizer import CharacterTokenizer
from tinygpt.model.checkpoint import Checkpoint, save_checkpoint
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT
from tinygpt.runtime.volume import Volume
from tinygpt.training.loss import bits_per_character, validation_loss

SHORT_ROWS = [Row("sort xs", "sorted(xs)"), Row("count xs", "len(xs)"), Row("first of xs", "xs[0]")]
LONG_ROWS = [Row(f"{row.prompt}, please, and be quick about it", row.code) for row in SHORT_ROWS]
ROWS = [*LONG_ROWS[:1], *SHORT_ROWS, *LONG_ROWS[1:]]
FITS_SHORT, FITS_ALL = 24, 64
"""Contexts: the longest of `SHORT_ROWS` has 20 tokens, the shortest of `LONG_ROWS` more than 40."""


def model(context_length: int, seed: int) -> Checkpoint:
    tokenizer = CharacterTokenizer.from_corpus(row.prompt + row.code for row in ROWS)
    torch.manual_seed(seed)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, context_length=context_length, layers=1, heads=2, width=16, dropout=0.0
    )
    return Checkpoint(TinyGPT(config).eval(), tokenizer)


@pytest.fixture
def serve(volume: Volume, store_model: StoreModel) -> Callable[[Checkpoint], None]:
    """Lets a model be the one that is served, as the run `r-served`."""

    store_model("r-served")

    def promote(checkpoint: Checkpoint) -> None:
        save_checkpoint(checkpoint, volume.run("r-served") / BEST_CHECKPOINT)
        write_manifest(volume, "r-served", volume.manifest("r-served").metrics)
        volume.promote("r-served")

    return promote


def bits(checkpoint: Checkpoint, rows: list[Row]) -> float:
    examples = encode_examples(rows, checkpoint.tokenizer, checkpoint.model.config.context_length)
    assert len(examples) == len(rows)
    return bits_per_character(validation_loss(checkpoint.model, examples))


def verdict(
    volume: Volume, challenger: Checkpoint, rows: list[Row], mode: Literal["auto", "always", "never"] = "auto"
) -> Promotion:
    return decide_promotion(volume, "r-new", challenger, rows, mode, lambda: None)


@pytest.mark.parametrize("contexts", [(FITS_ALL, FITS_SHORT), (FITS_SHORT, FITS_ALL)], ids=str)
@pytest.mark.parametrize("seeds", [(0, 1), (1, 0)], ids=str)
def test_both_are_scored_on_the_rows_that_fit_both(
    volume: Volume, serve: Callable[[Checkpoint], None], contexts: tuple[int, int], seeds: tuple[int, int]
) -> None:
    challenger, served = (model(*choice) for choice in zip(contexts, seeds, strict=True))
    serve(served)

    promotion = verdict(volume, challenger, ROWS)

    new, old = bits(challenger, SHORT_ROWS), bits(served, SHORT_ROWS)
    assert promotion.bits_per_character == pytest.approx(new, abs=1e-6)
    assert promotion.served_bits_per_character == pytest.approx(old, abs=1e-6)
    assert promotion.promoted is (new < old)


def test_the_lower_score_wins_whichever_of_the_two_has_it(volume: Volume, serve: Callable[[Checkpoint], None]) -> None:
    better, worse = sorted((model(FITS_ALL, 0), model(FITS_ALL, 1)), key=lambda checkpoint: bits(checkpoint, ROWS))
    serve(worse)
    assert verdict(volume, better, ROWS).promoted
    assert not verdict(volume, worse, ROWS).promoted


def test_at_a_tie_the_model_that_is_served_stays(volume: Volume, serve: Callable[[Checkpoint], None]) -> None:
    serve(model(FITS_ALL, 0))

    promotion = verdict(volume, model(FITS_ALL, 0), ROWS)

    assert promotion.bits_per_character == promotion.served_bits_per_character
    assert not promotion.promoted


def test_the_new_model_is_served_if_no_row_fits_both(volume: Volume, serve: Callable[[Checkpoint], None]) -> None:
    serve(model(FITS_SHORT, 0))

    promotion = verdict(volume, model(FITS_ALL, 1), LONG_ROWS)

    assert promotion.promoted
    assert promotion.bits_per_character is None


@pytest.mark.parametrize(("mode", "promoted"), [("always", True), ("never", False)])
def test_a_request_decides_whatever_the_scores(
    volume: Volume,
    serve: Callable[[Checkpoint], None],
    mode: Literal["always", "never"],
    promoted: bool,
) -> None:
    better, worse = sorted((model(FITS_ALL, 0), model(FITS_ALL, 1)), key=lambda checkpoint: bits(checkpoint, ROWS))
    served, challenger = (better, worse) if promoted else (worse, better)
    serve(served)

    assert verdict(volume, challenger, ROWS, mode).promoted is promoted


def test_a_row_that_fills_the_context_exactly_fits(volume: Volume, serve: Callable[[Checkpoint], None]) -> None:
    row = ROWS[0]
    tokens, _ = model(FITS_ALL, 0).tokenizer.encode_supervised(row.prompt, row.code)
    serve(model(len(tokens), 0))
    assert verdict(volume, model(FITS_ALL, 1), [row]).bits_per_character is not None

    serve(model(len(tokens) - 1, 0))
    assert verdict(volume, model(FITS_ALL, 1), [row]).bits_per_character is None


def test_the_lease_is_looked_after_while_models_are_scored(volume: Volume, serve: Callable[[Checkpoint], None]) -> None:
    serve(model(FITS_ALL, 0))

    def lost() -> None:
        raise LeaseLost("another worker has it")

    with pytest.raises(LeaseLost):
        decide_promotion(volume, "r-new", model(FITS_ALL, 1), ROWS, "auto", lost)
