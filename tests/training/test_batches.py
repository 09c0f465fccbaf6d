"""Batches: every row once an epoch, the same order for the same seed, from any step on."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data.examples import IGNORED, Example
from tinygpt.data.tokenizer import PAD
from tinygpt.training import batches as plan
from tinygpt.training.batches import Batch, collate, drop_ngrams, ngram_dropout

lengths = st.lists(st.integers(1, 200), min_size=1, max_size=150)


def epoch_batches(lengths: list[int], batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    found = plan.epoch_batches(np.array(lengths, np.int32), batch_size, seed=seed, epoch=epoch)
    return [batch.tolist() for batch in found]


def endless_batches(lengths: list[int], batch_size: int, *, seed: int, skip: int = 0) -> Iterator[list[int]]:
    found = plan.endless_batches(np.array(lengths, np.int32), batch_size, seed=seed, skip=skip)
    return (batch.tolist() for batch in found)


@given(lengths, st.integers(1, 20), st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_has_every_row_once_in_batches_of_at_most_the_size(
    lengths: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    batches = epoch_batches(lengths, batch_size, seed=seed, epoch=epoch)

    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert sum(len(batch) < batch_size for batch in batches) <= 1
    assert all(1 <= len(batch) <= batch_size for batch in batches)


@given(lengths, st.integers(1, 20), st.integers(0, 40))
def test_skipping_batches_gives_what_comes_after_them(lengths: list[int], batch_size: int, skip: int) -> None:
    from_the_start = islice(endless_batches(lengths, batch_size, seed=3), skip, skip + 20)

    assert list(islice(endless_batches(lengths, batch_size, seed=3, skip=skip), 20)) == list(from_the_start)


def test_the_order_follows_from_seed_and_epoch() -> None:
    lengths = list(range(1, 101))
    first = epoch_batches(lengths, 8, seed=1, epoch=0)

    assert epoch_batches(lengths, 8, seed=1, epoch=0) == first
    assert epoch_batches(lengths, 8, seed=2, epoch=0) != first
    assert epoch_batches(lengths, 8, seed=1, epoch=1) != first


def test_the_order_is_the_same_on_every_machine_and_in_every_version() -> None:
    assert epoch_batches([5, 1, 4, 2, 3, 6, 7], 3, seed=1, epoch=2) == [[6], [2, 0, 5], [1, 3, 4]]


def test_rows_of_more_than_one_pool_are_sorted_within_their_pools_only() -> None:
    lengths = list(range(1, 1025))
    batches = epoch_batches(lengths, 8, seed=0, epoch=0)

    assert all(batch == sorted(batch) for batch in batches)
    assert all(batch[-1] - batch[0] < 200 for batch in batches)
    assert any(batch[-1] - batch[0] > 8 for batch in batches)


def test_rows_of_like_length_go_together_and_the_batches_come_in_no_order_of_length() -> None:
    lengths = list(range(1, 129))
    batches = epoch_batches(lengths, 8, seed=0, epoch=0)

    assert all(max(batch) - min(batch) == 7 for batch in batches)
    assert [batch[0] for batch in batches] != sorted(batch[0] for batch in batches)


def test_collate_pads_on_the_right_inputs_with_pad_and_labels_with_ignored() -> None:
    batch = collate([Example([2, 9, 3], [IGNORED, IGNORED, 7], 1), Example([2, 3, 8, 8], [IGNORED, 8, 8, 4], 3)])

    assert batch.ids.tolist() == [[2, 9, 3, PAD], [2, 3, 8, 8]]
    assert batch.labels.tolist() == [[IGNORED, IGNORED, 7, IGNORED], [IGNORED, 8, 8, 4]]


def test_an_unmasked_batch_labels_the_prompt_too_and_no_padding() -> None:
    long, short = Example([2, 7, 8, 3, 9], [IGNORED, IGNORED, IGNORED, 9, 4], 2), Example([2, 3], [IGNORED, 4], 1)

    batch = collate([long, short], masked=False)

    assert batch.labels.tolist() == [[7, 8, 3, 9, 4], [3, 4, IGNORED, IGNORED, IGNORED]]
    assert collate([long]).labels.tolist() == [[IGNORED, IGNORED, IGNORED, 9, 4]]


def test_no_ngram_is_dropped_in_the_first_two_passes_and_more_in_each_after_them_up_to_the_most() -> None:
    shares = [ngram_dropout(epoch, 0.6) for epoch in range(8)]

    assert shares[:2] == [0, 0]
    assert shares[1:6] == sorted(set(shares[1:6]))
    assert shares[-1] == 0.6
    assert ngram_dropout(100, 0.0) == 0


def test_dropped_ngrams_are_made_up_for_and_follow_from_seed_pass_and_row() -> None:
    batch = Batch(torch.arange(5, 2005).view(50, 40), torch.zeros(50, 40, dtype=torch.long))

    def weights(batch: Batch, *seed_and_epoch: int) -> torch.Tensor:
        dropped = drop_ngrams(batch, 0.25, *seed_and_epoch).ngram_weights
        assert dropped is not None
        return dropped

    whole = weights(batch, 1, 2)
    assert sorted(set(whole.flatten().tolist())) == pytest.approx([0, 4 / 3])
    assert (whole == 0).float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert not torch.equal(whole[0], whole[1])
    assert torch.equal(weights(Batch(F.pad(batch.ids[3:5], (0, 6), value=PAD), batch.labels), 1, 2)[:, :40], whole[3:5])
    assert not torch.equal(weights(batch, 1, 3), whole)
    assert not torch.equal(weights(batch, 2, 2), whole)
    assert drop_ngrams(batch, 0, 1, 2).ngram_weights is None
