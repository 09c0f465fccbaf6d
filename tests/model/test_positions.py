"""Rotary positions and normalised queries and keys: what they promise, with a cache and without."""

from dataclasses import replace

import pytest
import torch

from tinygpt.model.config import SIZES, ModelConfig
from tinygpt.model.positions import rotary_table, rotate
from tinygpt.model.transformer import TinyGPT

ROTARY = ModelConfig(
    context_length=24, layers=2, heads=2, width=16, dropout=0.0, positions="rotary", qk_norm=True, vocab_size=20
)


def test_a_product_of_rotated_vectors_depends_on_their_distance_alone() -> None:
    cosine, sine = rotary_table(32, 8)
    query, key = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def product(at: int, other: int) -> float:
        turned = rotate(query, cosine[at : at + 1], sine[at : at + 1])
        against = rotate(key, cosine[other : other + 1], sine[other : other + 1])
        return float((turned * against).sum())

    assert product(3, 1) == pytest.approx(product(20, 18), abs=1e-4)
    assert product(3, 1) != pytest.approx(product(3, 2), abs=1e-4)


def test_a_rotation_keeps_the_length() -> None:
    x = torch.randn(2, 3, 5, 8)
    turned = rotate(x, *(table[:5] for table in rotary_table(32, 8)))

    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_a_cache_gives_the_logits_of_the_whole_sequence() -> None:
    model = TinyGPT(ROTARY).eval()
    ids = torch.randint(0, 20, (1, 24))
    cache = model.make_cache()
    pieces = [model(ids[:, :7], cache), *(model(ids[:, i : i + 1], cache) for i in range(7, 24))]

    torch.testing.assert_close(torch.cat(pieces, dim=1), model(ids))


def test_the_order_of_tokens_matters_without_learned_positions() -> None:
    model = TinyGPT(ROTARY).eval()
    forward, swapped = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[6, 5, 7, 8]])

    assert not torch.allclose(model(forward)[0, -1], model(swapped)[0, -1])


def test_a_rotary_model_has_no_position_embedding() -> None:
    assert not any("position" in name for name in TinyGPT(ROTARY).state_dict())


def test_the_presets_are_rotary() -> None:
    assert {(size.positions, size.qk_norm) for size in SIZES.values()} == {("rotary", True)}


def test_an_odd_width_of_a_head_is_refused() -> None:
    with pytest.raises(ValueError, match="even width"):
        replace(ROTARY, heads=1, width=15)
