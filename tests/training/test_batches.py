"""Batches: every row once an epoch, the same order for the same seed, from any step on."""

import math
from collections.abc import Iterator
from itertools import islice
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data.examples import IGNORED, Example
from tinygpt.data.tokenizer import PAD
from tinygpt.training import batches as plan
from tinygpt.training.batches import (
    GROUPS_PER_STEP,
    Batch,
    batch_count,
    collate,
    drop_ngrams,
    ngram_dropout,
    round_up,
    split_groups,
)

lengths = st.lists(st.integers(1, 200), min_size=1, max_size=150)


def epoch_batches(lengths: list[int], batch_size: int, *, seed: int, epoch: int) -> list[list[list[int]]]:
    found = plan.epoch_batches(np.array(lengths, np.int32), batch_size, seed=seed, epoch=epoch)
    return [[group.tolist() for group in batch] for batch in found]


def endless_batches(lengths: list[int], batch_size: int, *, seed: int, skip: int = 0) -> Iterator[list[list[int]]]:
    found = plan.endless_batches(np.array(lengths, np.int32), batch_size, seed=seed, skip=skip)
    return ([group.tolist() for group in batch] for batch in found)


pools = st.sampled_from([1, 2, 3, 64])
"""How many batches are sorted together."""


@given(lengths, st.integers(1, 20), st.integers(0, 5), st.integers(0, 5), pools)
def test_an_epoch_has_every_row_once_in_the_expected_number_of_batches(
    lengths: list[int], batch_size: int, seed: int, epoch: int, pool: int
) -> None:
    with mock.patch.object(plan, "_BATCHES_PER_POOL", pool):
        batches = epoch_batches(lengths, batch_size, seed=seed, epoch=epoch)

    assert sorted(index for batch in batches for group in batch for index in group) == list(range(len(lengths)))
    assert len(batches) == batch_count(len(lengths), batch_size) == math.ceil(len(lengths) / batch_size)
    assert all(1 <= len(batch) <= GROUPS_PER_STEP for batch in batches)
    assert sum(len(batch) < GROUPS_PER_STEP for batch in batches) <= 1 or batch_size == 1
    assert all(group for batch in batches for group in batch)


@given(lengths, st.integers(1, 20), st.integers(0, 40), pools)
def test_skipping_batches_gives_what_comes_after_them(
    lengths: list[int], batch_size: int, skip: int, pool: int
) -> None:
    with mock.patch.object(plan, "_BATCHES_PER_POOL", pool):
        from_the_start = list(islice(endless_batches(lengths, batch_size, seed=3), skip, skip + 20))

        assert list(islice(endless_batches(lengths, batch_size, seed=3, skip=skip), 20)) == from_the_start


def test_the_order_follows_from_seed_and_epoch() -> None:
    lengths = list(range(1, 101))
    first = epoch_batches(lengths, 8, seed=1, epoch=0)

    assert epoch_batches(lengths, 8, seed=1, epoch=0) == first
    assert epoch_batches(lengths, 8, seed=2, epoch=0) != first
    assert epoch_batches(lengths, 8, seed=1, epoch=1) != first


def test_the_order_is_the_same_on_every_machine_and_in_every_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_BATCHES_PER_POOL", 2)
    assert epoch_batches([5, 1, 4, 2, 3, 6, 7], 3, seed=1, epoch=2) == [[[0], [5, 6]], [[3, 2], [1]], [[4]]]


def test_rows_of_more_than_one_pool_are_sorted_within_their_pools_only() -> None:
    lengths = list(range(1, 1025))
    groups = [group for batch in epoch_batches(lengths, 8, seed=0, epoch=0) for group in batch]

    assert all(group == sorted(group) for group in groups)
    long = [group for group in groups if group[0] >= 200]
    assert all(group[-1] - group[0] < 100 for group in long)
    assert any(group[-1] - group[0] > 12 for group in long)


def test_a_group_has_rows_of_one_length_and_a_batch_groups_of_any() -> None:
    lengths = [10] * 64 + [100] * 64
    batches = epoch_batches(lengths, 8, seed=0, epoch=0)

    groups = [{lengths[row] for row in group} for batch in batches for group in batch]
    assert sum(len(group) > 1 for group in groups) <= 1
    assert {lengths[batch[0][0]] + lengths[batch[1][0]] for batch in batches} >= {110, 200}
    assert [batch[0][0] for batch in batches] != sorted(batch[0][0] for batch in batches)


def test_groups_have_similar_token_counts_whatever_their_lengths() -> None:
    lengths = [16 + i % 240 for i in range(4096)]
    groups = [group for batch in epoch_batches(lengths, 64, seed=0, epoch=0) for group in batch]

    tokens = [sum(round_up(lengths[row], 16) for row in group) for group in groups]
    assert max(tokens) < 1.2 * min(tokens)
    assert max(map(len, groups)) > 4 * min(map(len, groups))


def test_each_part_of_a_step_is_of_one_group_and_none_overlap() -> None:
    short, long = ([Example([n] * time, [IGNORED] * time, 0) for n in range(5)] for time in (3, 9))

    for number, parts in ((1, 2), (2, 2), (3, 6), (4, 4), (5, 10), (16, 10)):
        found = split_groups([short, long], number)
        assert len(found) == parts
        assert all(len({len(example.ids) for example in part}) == 1 for part in found)
        assert sorted(id(example) for part in found for example in part) == sorted(map(id, short + long))
    assert split_groups([[], long], 2) == [long]
    assert split_groups([long], 2) == [long[::2], long[1::2]]


def test_collate_pads_on_the_right_inputs_with_pad_and_labels_with_ignored() -> None:
    batch = collate([Example([2, 9, 3], [IGNORED, IGNORED, 7], 1), Example([2, 3, 8, 8], [IGNORED, 8, 8, 4], 3)])

    assert batch.ids.tolist() == [[2, 9, 3, PAD], [2, 3, 8, 8]]
    assert batch.labels.tolist() == [[IGNORED, IGNORED, 7, IGNORED], [IGNORED, 8, 8, 4]]


def test_an_unmasked_batch_labels_the_prompt_too_and_no_padding() -> None:
    long, short = Example([2, 7, 8, 3, 9], [IGNORED, IGNORED, IGNORED, 9, 4], 2), Example([2, 3], [IGNORED, 4], 1)

    batch = collate([long, short], masked=False)

    assert batch.labels.tolist() == [[7, 8, 3, 9, 4], [3, 4, IGNORED, IGNORED, IGNORED]]
    assert collate([long]).labels.tolist() == [[IGNORED, IGNORED, IGNORED, 9, 4]]


def test_ngram_dropout_grows_from_the_third_epoch_to_its_maximum() -> None:
    shares = [ngram_dropout(epoch, 0.6) for epoch in range(8)]

    assert shares[:2] == [0, 0]
    assert shares[1:6] == sorted(set(shares[1:6]))
    assert shares[-1] == 0.6
    assert ngram_dropout(100, 0.0) == 0


def test_dropped_ngrams_are_compensated_and_depend_on_seed_epoch_and_row() -> None:
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
