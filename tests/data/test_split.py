"""Which rows are held out from training."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data.rows import Row
from tinygpt.data.split import split_rows

rows = st.lists(
    st.builds(Row, st.text("abc ", min_size=1).filter(str.strip), st.text("xyz", min_size=1, max_size=3)), max_size=60
)


@given(rows, st.floats(0.01, 0.9))
def test_a_split_holds_out_at_least_the_share_and_loses_no_row(data: list[Row], share: float) -> None:
    if len({" ".join(row.prompt.lower().split()) for row in data}) < 2:
        with pytest.raises(ValueError, match="two distinct prompts"):
            split_rows(data, share)
        return
    split = split_rows(data, share)

    distinct = {(" ".join(row.prompt.lower().split()), row.code) for row in data}
    kept = [(" ".join(row.prompt.lower().split()), row.code) for row in split.training + split.held_out]
    assert sorted(kept) == sorted(distinct)
    assert split.training
    one_prompt_left = len({prompt for prompt, _ in kept[: len(split.training)]}) == 1
    assert len(split.held_out) >= math.ceil(share * len(distinct)) or one_prompt_left


@given(rows, st.randoms(use_true_random=False))
def test_no_prompt_is_on_both_sides_and_order_does_not_matter(data: list[Row], shuffle: random.Random) -> None:
    data = [*data, Row("one", "1"), Row("two", "2")]
    split = split_rows(data)
    shuffled = list(data)
    shuffle.shuffle(shuffled)
    again = split_rows(shuffled)

    training, held_out = (
        {" ".join(row.prompt.lower().split()) for row in side} for side in (split.training, split.held_out)
    )
    assert not training & held_out
    assert held_out == {" ".join(row.prompt.lower().split()) for row in again.held_out}


def test_at_least_a_tenth_is_held_out_and_not_much_more() -> None:
    data = [Row(f"add {i}", f"x + {i}") for i in range(1005)]

    assert len(split_rows(data).held_out) == 101


def test_what_a_dataset_holds_out_another_that_shares_prompts_holds_out_too() -> None:
    large = [Row(f"add {i}", f"x + {i}") for i in range(5000)]
    small = large[:1000]

    unseen = {row.prompt for row in split_rows(large).held_out}
    both = [row for row in split_rows(small).held_out if row.prompt in unseen]

    assert len(both) >= 0.8 * len(split_rows(small).held_out)


def test_prompts_that_differ_in_case_and_spaces_only_are_one_prompt() -> None:
    with pytest.raises(ValueError, match="two distinct prompts"):
        split_rows([Row("Reverse  nums", "nums[::-1]"), Row("reverse nums ", "list(reversed(nums))")])


def test_a_repeated_row_counts_once() -> None:
    split = split_rows([Row("one", "1")] * 50 + [Row("two", "2")])

    assert len(split.training) == len(split.held_out) == 1
