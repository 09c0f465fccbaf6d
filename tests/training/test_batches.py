"""Batches: every row once an epoch, the same order for the same seed, from any step on."""

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data.examples import IGNORED, Example
from tinygpt.data.tokenizer import PAD
from tinygpt.training.batches import collate, endless_batches, epoch_batches

lengths = st.lists(st.integers(1, 200), min_size=1, max_size=150)


@given(lengths, st.integers(1, 20), st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_has_every_row_once_in_batches_of_at_most_the_size(
    lengths: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    batches = epoch_batches(lengths, batch_size, seed=seed, epoch=epoch)

    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
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


def test_rows_of_like_length_go_together_and_the_batches_come_in_no_order_of_length() -> None:
    lengths = list(range(1, 129))
    batches = epoch_batches(lengths, 8, seed=0, epoch=0)

    assert all(max(batch) - min(batch) == 7 for batch in batches)
    assert [batch[0] for batch in batches] != sorted(batch[0] for batch in batches)


def test_collate_pads_on_the_right_inputs_with_pad_and_labels_with_ignored() -> None:
    batch = collate([Example([2, 9, 3], [IGNORED, IGNORED, 7], 1), Example([2, 3, 8, 8], [IGNORED, 8, 8, 4], 3)])

    assert batch.ids.tolist() == [[2, 9, 3, PAD], [2, 3, 8, 8]]
    assert batch.labels.tolist() == [[IGNORED, IGNORED, 7, IGNORED], [IGNORED, 8, 8, 4]]
