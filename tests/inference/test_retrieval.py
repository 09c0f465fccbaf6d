"""The nearest training prompt, and when none is near enough."""

import itertools

import pytest
from rapidfuzz import fuzz, process, utils

from tinygpt.data.rows import Row
from tinygpt.inference.retrieval import Match, RetrievalIndex

ROWS = [
    Row("reverse the list nums", "nums[::-1]"),
    Row("sum of the list nums", "sum(nums)"),
    Row("Größe der Liste", "len(nums)"),
    Row("???", "help()"),
]
INDEX = RetrievalIndex(ROWS)


@pytest.mark.parametrize("prompt", ["reverse the list nums", "Reverse the LIST nums!", "the list nums: reverse"])
def test_case_punctuation_and_the_order_of_words_do_not_matter(prompt: str) -> None:
    assert INDEX.nearest(prompt) == Match(ROWS[0], 100.0)


def test_the_nearest_of_all_rows_is_found_with_a_similarity_below_that_of_the_same() -> None:
    match = INDEX.nearest("sum up the list nums")

    assert match is not None
    assert match.row == ROWS[1]
    assert 80 < match.similarity < 100


def test_letters_beyond_ascii_count() -> None:
    assert INDEX.nearest("größe der liste") == Match(ROWS[2], 100.0)


def test_below_the_floor_there_is_none_and_at_the_floor_there_is() -> None:
    match = INDEX.nearest("sum up the list nums")
    assert match is not None

    assert INDEX.nearest("sum up the list nums", floor=match.similarity + 1) is None
    assert INDEX.nearest("sum up the list nums", floor=match.similarity - 1) == match
    assert INDEX.nearest("reverse the list nums", floor=100.0) is not None


def test_of_equals_the_first_is_taken() -> None:
    index = RetrievalIndex([Row("one two", "12"), Row("two one", "21")])

    assert index.nearest("one two") == Match(Row("one two", "12"), 100.0)


@pytest.mark.parametrize("prompt", ["🎉🎉", "!!!", "???", "  "])
def test_a_prompt_without_a_letter_or_digit_has_no_match(prompt: str) -> None:
    assert INDEX.nearest(prompt) is None


def test_an_empty_index_has_no_nearest_row() -> None:
    index = RetrievalIndex([])

    assert len(index) == 0
    assert index.nearest("one") is None


def test_a_very_long_prompt_has_no_match() -> None:
    assert INDEX.nearest("reverse " * 1250, floor=70.0) is None


@pytest.mark.parametrize("workers", [1, 2])
def test_many_prompts_get_the_matches_that_each_would_get_by_rapidfuzzs_own_search(workers: int) -> None:
    words = ["sum", "list", "of", "the", "nums", "Reverse", "it!", "größe"]
    prompts = [" ".join(pair) for pair in itertools.product(words, repeat=2)] + ["?"]

    found = INDEX.nearest_of_each(prompts, workers=workers)

    known = [row.prompt for row in ROWS]
    for prompt, match in zip(prompts[:-1], found, strict=False):
        _, similarity, index = process.extractOne(
            prompt, known, scorer=fuzz.token_sort_ratio, processor=utils.default_process
        )
        assert match == Match(ROWS[index], round(similarity, 1))
        assert match == INDEX.nearest(prompt)
    assert found[-1] is None
    assert RetrievalIndex([]).nearest_of_each(prompts) == [None] * len(prompts)
