"""Embeddings of n-grams: what they see, what they don't, and reading in pieces."""

import pytest
import torch

from tests.known_ngrams import know_ngrams, ngrams_of
from tinygpt.model.config import ModelConfig
from tinygpt.model.ngrams import NgramEmbedding
from tinygpt.model.transformer import TinyGPT


def ngrams(known: torch.Tensor, sizes: tuple[int, ...] = (2, 4)) -> NgramEmbedding:
    """One that knows the n-grams of the texts `known` (B, T)."""
    torch.manual_seed(0)
    hashes = ngrams_of(known, sizes)
    embedding = NgramEmbedding(sizes, rows=len(hashes), width=8)
    embedding.know(hashes)
    return embedding


def some_ids(rows: int = 1) -> torch.Tensor:
    return torch.randint(0, 50, (rows, 12), generator=torch.Generator().manual_seed(3))


def test_equal_endings_are_embedded_alike_and_others_not() -> None:
    first, second = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[9, 6, 7, 8]])
    embedding = ngrams(torch.cat((first, second)), (2, 3))

    one, other = embedding(first)[0], embedding(second)[0]

    assert torch.equal(one[3], other[3])
    assert not torch.allclose(one[2], other[2])


def test_what_is_not_known_is_embedded_as_nothing() -> None:
    embedding = ngrams(torch.tensor([[5, 6]]), (2,))

    embedded = embedding(torch.tensor([[7, 5, 6, 5, 5, 6]]))[0]

    assert (embedded != 0).any(dim=-1).tolist() == [False, False, True, False, False, True]


def test_the_latest_knowledge_is_the_only_one() -> None:
    embedding = ngrams(torch.tensor([[5, 6]]), (2,))
    embedding.know(ngrams_of(torch.tensor([[8]]), (2,)))

    embedded = embedding(torch.tensor([[5, 6], [8, 5]]))

    assert (embedded != 0).any(dim=-1).tolist() == [[False, False], [True, False]]


def test_a_model_that_knows_no_ngram_reads_characters_alone() -> None:
    embedding = NgramEmbedding((2, 4), rows=3, width=8)

    assert not embedding(some_ids()).any()


def test_a_later_token_never_changes_an_earlier_embedding() -> None:
    ids = some_ids()
    changed = ids.clone()
    changed[0, 7] = 60
    embedding = ngrams(torch.cat((ids, changed)))

    same = (embedding(ids) == embedding(changed)).all(dim=-1)[0]

    assert same.tolist() == [True] * 7 + [False] * 4 + [True]


def test_the_order_within_an_ngram_counts() -> None:
    both = torch.tensor([[5, 6], [6, 5]])
    embedded = ngrams(both, (2,))(both)

    assert not torch.allclose(embedded[0, 1], embedded[1, 1])


def test_only_rows_that_were_used_get_a_gradient() -> None:
    embedding = ngrams(some_ids(rows=4), (2,))
    ids = some_ids()[:, :3]
    embedding(torch.cat((ids, ids, ids + 60), dim=1)).sum().backward()

    gradient = embedding.table.weight.grad
    assert gradient is not None
    assert gradient.is_sparse
    assert torch.equal(embedding.known[gradient.coalesce().indices()[0]], ngrams_of(ids, (2,)))


@pytest.mark.parametrize("pieces", [[12], [1] * 12, [7, 5], [1, 10, 1]], ids=str)
@pytest.mark.parametrize("sizes", [(2,), (2, 5)], ids=str)
def test_reading_in_pieces_is_reading_at_once(pieces: list[int], sizes: tuple[int, ...]) -> None:
    ids = some_ids(rows=2)
    embedding = ngrams(ids, sizes)
    recent = torch.zeros(2, embedding.context, dtype=torch.long)

    embedded = torch.cat([embedding(piece, recent) for piece in torch.split(ids, pieces, dim=1)], dim=1)

    torch.testing.assert_close(embedded, embedding(ids))


@pytest.mark.parametrize("pieces", [[16], [1] * 16, [10, 1, 5]], ids=str)
def test_a_whole_model_reads_in_pieces_what_it_reads_at_once(pieces: list[int]) -> None:
    config = ModelConfig(
        vocab_size=30, context_length=16, heads=2, width=8, dropout=0.0, positions="rotary", qk_norm=True,
        convolution=3, ngrams=(2, 3), ngram_rows=500,
    )  # fmt: skip
    torch.manual_seed(0)
    ids = torch.randint(0, 30, (2, 16))
    model = know_ngrams(TinyGPT(config).eval(), ids)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    cache = model.make_cache(batch=2)

    logits = torch.cat([model(piece, cache) for piece in torch.split(ids, pieces, dim=1)], dim=1)

    torch.testing.assert_close(logits, model(ids), atol=1e-5, rtol=1e-4)


def test_a_table_of_unigrams_is_refused() -> None:
    with pytest.raises(ValueError, match="2 or longer"):
        ModelConfig(ngrams=(1, 2))


def test_a_positions_ngrams_count_as_much_as_their_weight() -> None:
    torch.manual_seed(0)
    config = ModelConfig(width=16, heads=2, layers=1, dropout=0.0, ngrams=(2, 3), ngram_rows=6000)
    model = know_ngrams(TinyGPT(config).eval())
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
