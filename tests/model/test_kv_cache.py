"""The cache: reading in pieces is reading at once."""

from dataclasses import replace

import pytest
import torch

from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT

CONFIG = ModelConfig(vocab_size=30, context_length=16, layers=3, heads=2, width=8)


def model(config: ModelConfig = CONFIG) -> TinyGPT:
    torch.manual_seed(0)
    return TinyGPT(config).eval()


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, mlps="last")], ids=["every MLP", "the last MLP"])
@pytest.mark.parametrize("pieces", [[16], [1] * 16, [8, 8], [10, 1, 1, 4], [1, 15]], ids=str)
def test_reading_in_pieces_gives_the_logits_of_reading_at_once(pieces: list[int], config: ModelConfig) -> None:
    gpt = model(config)
    ids = torch.randint(0, 30, (2, 16))
    cache = gpt.make_cache(batch=2)

    logits = torch.cat([gpt(piece, cache) for piece in torch.split(ids, pieces, dim=1)], dim=1)

    torch.testing.assert_close(logits, gpt(ids), atol=1e-6, rtol=1e-5)


def test_the_cache_knows_how_many_tokens_it_holds() -> None:
    gpt = model()
    cache = gpt.make_cache()

    lengths = [cache.length]
    for piece in (5, 1, 3):
        gpt(torch.zeros(1, piece, dtype=torch.long), cache)
        lengths.append(cache.length)

    assert lengths == [0, 5, 6, 9]


def test_more_than_the_context_in_all_is_refused_and_leaves_the_cache_as_it_was() -> None:
    gpt = model()
    cache = gpt.make_cache()
    gpt(torch.zeros(1, 16, dtype=torch.long), cache)

    with pytest.raises(ValueError, match="17 tokens"):
        gpt(torch.zeros(1, 1, dtype=torch.long), cache)

    assert cache.length == 16


def test_what_is_appended_comes_after_what_is_there() -> None:
    layer = model().make_cache().layers[0]
    first, second = torch.ones(1, 2, 3, 4), torch.full((1, 2, 1, 4), 2.0)
    layer.append(first, -first)

    keys, values = layer.append(second, -second)

    assert torch.equal(keys, torch.cat([first, second], dim=2))
    assert torch.equal(values, -keys)


def test_two_caches_share_nothing() -> None:
    gpt = model()
    one, other = gpt.make_cache(), gpt.make_cache()
    gpt(torch.full((1, 4), 3), one)
    gpt(torch.full((1, 4), 9), other)

    again = gpt.make_cache()
    gpt(torch.full((1, 4), 3), again)
    next_token = torch.full((1, 1), 5)
    assert torch.equal(gpt(next_token, one), gpt(next_token, again))
