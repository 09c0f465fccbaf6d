"""From the model's text to an answer: the model's own, repaired, a training row's, or none."""

from typing import Any

import pytest

from tests.inference.generators import PROMPT, ROWS
from tinygpt.contracts.generation import Choice, GenerateRequest
from tinygpt.inference.answer import answer, is_judged, needs_no_repair
from tinygpt.inference.retrieval import Match, RetrievalIndex


def retrieve(prompt: str) -> Match | None:
    return RetrievalIndex(ROWS).nearest(prompt, floor=70.0)


def answer_to(text: str, prompt: str = PROMPT, **options: Any) -> Choice:
    raw = Choice(code=text, raw=text, source="model", finish_reason="eos", repaired=False)
    before = raw.model_copy()
    given = answer(raw, GenerateRequest(prompt=prompt, **options), retrieve)
    assert raw == before, "the model's own choice is not changed"
    assert (given.raw, given.finish_reason) == (text, "eos")
    return given


def test_a_usable_text_is_the_answer() -> None:
    given = answer_to("nums[::-1]")

    assert (given.code, given.source, given.repaired) == ("nums[::-1]", "model", False)
    assert (given.similarity, given.matched_prompt, given.note) == (None, None, None)


def test_two_characters_may_be_an_answer() -> None:
    assert answer_to("xs \n", fallback="never").code == "xs"


def test_a_repaired_text_is_marked() -> None:
    given = answer_to("nums[::-1")

    assert (given.code, given.source, given.repaired) == ("nums[::-1]", "model", True)


def test_without_post_processing_the_text_is_not_repaired() -> None:
    given = answer_to("nums[::-1", post_process=False)

    assert (given.code, given.source, given.repaired) == ("nums[::-1", "model", False)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("x", "too short"),
        ("0, " * 20, "repeats itself"),
        ("))) no python", "not Python"),
    ],
)
def test_an_unusable_text_gives_the_nearest_training_rows_code_and_says_why(text: str, why: str) -> None:
    given = answer_to(text)

    assert (given.code, given.source, given.repaired) == ("items[::-1]", "retrieval", False)
    assert given.matched_prompt == "reverse the list items"
    assert given.similarity is not None
    assert 70 <= given.similarity < 100
    assert given.note is not None
    assert why in given.note


@pytest.mark.parametrize("text", ["", "x", "))) no python"])
def test_below_the_floor_there_is_no_answer(text: str) -> None:
    given = answer_to(text, prompt="open a socket")

    assert (given.code, given.source, given.repaired) == ("", "none", False)
    assert (given.similarity, given.matched_prompt) == (None, None)
    assert given.note is not None
    assert "no training prompt is near enough" in given.note


@pytest.mark.parametrize("text", ["", "))) no python"])
def test_a_request_may_forbid_retrieval(text: str) -> None:
    given = answer_to(text, fallback="never")

    assert (given.code, given.source, given.repaired, given.similarity) == ("", "none", False, None)
    assert given.note is not None
    assert given.note.startswith("No answer: ")


def test_a_request_may_have_the_text_whatever_it_is() -> None:
    for text in ("", "x", "))) no python", "0, " * 20):
        assert answer_to(text, fallback="never", post_process=False).code == text


def test_retrieval_without_post_processing_judges_the_text_and_repairs_nothing() -> None:
    assert answer_to("", post_process=False).source == "retrieval"
    assert answer_to("))) no python", post_process=False).code == "))) no python"


@pytest.mark.parametrize(
    ("text", "as_it_is"),
    [("nums[::-1]", True), ("nums[::-1] ", False), ("\nnums", False), ("nums[", False), ("x", False), ("", False)],
)
def test_a_text_that_needs_no_repair_is_the_answer_as_it_is(text: str, as_it_is: bool) -> None:
    assert needs_no_repair(text) is as_it_is
    assert (answer_to(text, fallback="never").code == text) is (as_it_is or not text)


def test_a_text_is_judged_if_the_answer_depends_on_it() -> None:
    for post_process in (True, False):
        for fallback in ("auto", "never"):
            request = GenerateRequest.model_validate(
                {"prompt": "p", "post_process": post_process, "fallback": fallback}
            )
            assert is_judged(request) is (post_process or fallback == "auto")
