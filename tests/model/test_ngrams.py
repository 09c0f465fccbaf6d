"""Embeddings of n-grams: what they see, what they don't, and reading in pieces."""

import pytest
import torch

from tinygpt.model.config import ModelConfig
from tinygpt.model.ngrams import NgramEmbedding
from tinygpt.model.transformer import TinyGPT


def ngrams(sizes: tuple[int, ...] = (2, 4)) -> NgramEmbedding:
    torch.manual_seed(0)
    return NgramEmbedding(sizes, buckets=10_007, width=8)


def test_equal_endings_are_embedded_alike_and_others_not() -> None:
    embedding = ngrams((2, 3))
    first, second = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[9, 6, 7, 8]])

    one, other = embedding(first)[0], embedding(second)[0]

    assert torch.equal(one[3], other[3])
    assert not torch.allclose(one[2], other[2])


def test_a_later_token_never_changes_an_earlier_embedding() -> None:
    embedding, ids = ngrams(), torch.randint(0, 50, (1, 12))
    changed = ids.clone()
    changed[0, 7] += 1

    same = (embedding(ids) == embedding(changed)).all(dim=-1)[0]

    assert same.tolist() == [True] * 7 + [False] * 4 + [True]


def test_the_order_within_an_ngram_counts() -> None:
    embedding = ngrams((2,))

    assert not torch.allclose(embedding(torch.tensor([[5, 6]]))[0, 1], embedding(torch.tensor([[6, 5]]))[0, 1])


def test_every_hash_is_a_row_of_the_table_whatever_the_ids() -> None:
    embedding = NgramEmbedding((2, 3, 4, 5, 6), buckets=7, width=8)

    assert embedding(torch.randint(0, 200_000, (4, 50))).isfinite().all()


def test_only_rows_that_were_used_get_a_gradient() -> None:
    embedding = ngrams((2,))
    embedding(torch.tensor([[5, 6, 5, 6]])).sum().backward()

    gradient = embedding.table.weight.grad
    assert gradient is not None
    assert gradient.is_sparse
    assert gradient.coalesce().indices().size(1) == 3  # what precedes the text with 5, 5 with 6, 6 with 5


@pytest.mark.parametrize("pieces", [[12], [1] * 12, [7, 5], [1, 10, 1]], ids=str)
@pytest.mark.parametrize("sizes", [(2,), (2, 5)], ids=str)
def test_reading_in_pieces_is_reading_at_once(pieces: list[int], sizes: tuple[int, ...]) -> None:
    embedding, ids = ngrams(sizes), torch.randint(0, 50, (2, 12))
    recent = torch.zeros(2, embedding.context, dtype=torch.long)

    embedded = torch.cat([embedding(piece, recent) for piece in torch.split(ids, pieces, dim=1)], dim=1)

    torch.testing.assert_close(embedded, embedding(ids))


@pytest.mark.parametrize("pieces", [[16], [1] * 16, [10, 1, 5]], ids=str)
def test_a_whole_model_reads_in_pieces_what_it_reads_at_once(pieces: list[int]) -> None:
    config = ModelConfig(
        vocab_size=30, context_length=16, heads=2, width=8, dropout=0.0, positions="rotary", qk_norm=True,
        convolution=3, ngrams=(2, 3), ngram_buckets=101,
    )  # fmt: skip
    torch.manual_seed(0)
    model = TinyGPT(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ids, cache = torch.randint(0, 30, (2, 16)), model.make_cache(batch=2)

    logits = torch.cat([model(piece, cache) for piece in torch.split(ids, pieces, dim=1)], dim=1)

    torch.testing.assert_close(logits, model(ids), atol=1e-5, rtol=1e-4)


def test_a_table_of_unigrams_is_refused() -> None:
    with pytest.raises(ValueError, match="2 or longer"):
        ModelConfig(ngrams=(1, 2))


def test_a_positions_ngrams_count_as_much_as_their_weight() -> None:
    torch.manual_seed(0)
    model = TinyGPT(ModelConfig(width=16, heads=2, layers=1, dropout=0.0, ngrams=(2, 3), ngram_buckets=50)).eval()
    assert model.ngram_embedding is not None
    torch.nn.init.normal_(model.ngram_embedding.table.weight)
    ids = torch.randint(0, 100, (2, 6))

    whole, weighted, none = (
        model.features(ids, ngram_weights=torch.full((2, 6), weight)) for weight in (1.0, 0.5, 0.0)
    )
    model.ngram_embedding = None

    torch.testing.assert_close(none, model.features(ids))
    assert not torch.allclose(whole, weighted)
    assert not torch.allclose(weighted, none)
