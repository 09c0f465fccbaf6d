"""Which n-grams get an embedding."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from tests.known_ngrams import ngrams_of
from tinygpt.data.examples import Example
from tinygpt.data.tokenizer import PAD
from tinygpt.model.config import ModelConfig
from tinygpt.training import frequent_ngrams as module
from tinygpt.training.frequent_ngrams import MIN_OCCURRENCES, frequent_ngrams, model_with

CONFIG = ModelConfig(width=16, heads=2, layers=1, ngrams=(2, 3), ngram_rows=1000)


def found(texts: Sequence[list[int]], config: ModelConfig = CONFIG) -> set[int]:
    examples = [Example(ids, ids, len(ids)) for ids in texts]
    lengths = np.array([len(ids) for ids in texts], np.int32)
    return set(frequent_ngrams(config, examples, lengths).tolist())


def hashes(ids: list[int], sizes: tuple[int, ...] = (2, 3)) -> set[int]:
    return set(ngrams_of(torch.tensor([ids]), sizes).tolist())


def test_ngrams_of_all_sizes_are_known_from_their_tenth_occurrence_on() -> None:
    often, seldom = [5, 6, 7], [8, 9, 10, 11]

    assert found([often] * MIN_OCCURRENCES + [seldom] * (MIN_OCCURRENCES - 1)) == hashes(often)


def test_occurrences_in_one_row_count_as_those_in_many() -> None:
    assert hashes([5, 5, 5], (2,)) <= found([[5] * (MIN_OCCURRENCES + 2)]) | hashes([5], (2,))


def test_of_more_than_the_table_has_rows_for_the_most_frequent_are_known() -> None:
    texts = [[5]] * 30 + [[6]] * 20 + [[7]] * 40  # each with what precedes a text, twice and once
    config = ModelConfig(width=16, heads=2, layers=1, ngrams=(2, 3), ngram_rows=4)

    assert found(texts, config) == hashes([5]) | hashes([7])


def test_padding_is_no_text() -> None:
    texts = [[5]] * 20 + [[6, 7, 8, 9]] * 20

    assert found(texts).isdisjoint(hashes([5, PAD]) - hashes([5]))


def test_no_more_rows_are_counted_than_have_so_many_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [[5, 6, 7, 8]] * 36

    monkeypatch.setattr(module, "_MAX_TOKENS_COUNTED", 4 * MIN_OCCURRENCES)
    assert found(texts) == hashes([5, 6, 7, 8])
    monkeypatch.setattr(module, "_MAX_TOKENS_COUNTED", 4 * MIN_OCCURRENCES - 4)
    assert found(texts) == set()


def test_where_no_ngram_is_frequent_the_model_has_no_table() -> None:
    assert found([[5, 6]]) == set()
    model = model_with(torch.empty(0, dtype=torch.int64), CONFIG)
    assert model.ngram_embedding is None
    assert model.config.ngrams == ()


def test_a_model_without_ngrams_counts_none() -> None:
    assert found([[5, 6]] * 20, ModelConfig()) == set()


def test_a_models_table_has_a_row_for_every_ngram_and_knows_them() -> None:
    ids = torch.tensor([[5, 6, 7]])
    model = model_with(ngrams_of(ids, (2, 3)), CONFIG)

    assert model.ngram_embedding is not None
    assert model.config.ngram_rows == 6
    assert (model.ngram_embedding.known == ngrams_of(ids, (2, 3))).all()
