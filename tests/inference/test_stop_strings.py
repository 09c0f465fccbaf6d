"""Stop strings, however they are split into tokens, and the text that is certain before they are."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygpt.data.byte_pair import BytePairTokenizer
from tinygpt.data.tokenizer import CharacterTokenizer, Tokenizer
from tinygpt.inference.stop_strings import TextUntilStop

CHARACTERS = CharacterTokenizer.from_corpus(["é🎉"])
BYTE_PAIRS = BytePairTokenizer.from_corpus(["abab é🎉 baba"] * 4)
TEXTS = st.text("ab é🎉\n", max_size=40)
STOPS = st.lists(st.text("ab é\n", min_size=1, max_size=4), max_size=4)
TOKENIZERS = st.sampled_from([CHARACTERS, BYTE_PAIRS])


def expected(text: str, stops: list[str]) -> str:
    """The text up to the stop string that completes first; of several at once, the longest."""
    ends = [(text.index(stop) + len(stop), -len(stop)) for stop in stops if stop in text]
    if not ends:
        return text
    end, length = min(ends)
    return text[: end + length]


def text_of(tokenizer: Tokenizer, text: str, stops: list[str]) -> TextUntilStop:
    until_stop = TextUntilStop(tokenizer.text_decoder(), stops)
    until_stop.add(tokenizer.encode(text))
    return until_stop


@pytest.mark.parametrize(
    ("text", "stops", "kept"),
    [
        ("a\n\nb", ["\n\n"], "a"),
        ("abc", ["bc", "b"], "a"),
        ("abcd", ["abcd", "bc"], "a"),  # "bc" completes first
        ("abc", ["c", "bc"], "a"),  # both complete: the longest wins
        ("abab", ["ab"], ""),
        ("abc", [], "abc"),
        ("ab", ["abc"], "ab"),
    ],
)
@pytest.mark.parametrize("tokenizer", [CHARACTERS, BYTE_PAIRS], ids=["characters", "byte pairs"])
def test_the_text_ends_before_the_first_stop_string(
    tokenizer: Tokenizer, text: str, stops: list[str], kept: str
) -> None:
    until_stop = text_of(tokenizer, text, stops)

    assert until_stop.text == kept
    assert until_stop.stopped == (kept != text)


@given(TOKENIZERS, TEXTS, STOPS)
@example(BYTE_PAIRS, "aababé", ["abé"])
def test_any_text_ends_where_it_should_by_either_tokenizer(tokenizer: Tokenizer, text: str, stops: list[str]) -> None:
    assert text_of(tokenizer, text, stops).text == expected(text, stops)


@given(TOKENIZERS, TEXTS, STOPS, st.lists(st.integers(1, 5), max_size=40))
def test_what_was_ready_is_never_taken_back_and_is_all_in_the_end(
    tokenizer: Tokenizer, text: str, stops: list[str], sizes: list[int]
) -> None:
    ids = tokenizer.encode(text)
    until_stop = TextUntilStop(tokenizer.text_decoder(), stops)
    shown, tokens = "", 0
    for size in [*sizes, len(ids)]:
        chunk, ids = ids[:size], ids[size:]
        until_stop.add(chunk)
        characters, ready_tokens = until_stop.ready()
        assert until_stop.text[:characters].startswith(shown)
        assert ready_tokens >= tokens
        shown, tokens = until_stop.text[:characters], ready_tokens
        if until_stop.stopped:
            break
    characters, _ = until_stop.ready(ended=True)

    assert until_stop.text[:characters] == expected(text, stops)


def test_only_what_may_become_a_stop_string_is_held_back() -> None:
    until_stop = TextUntilStop(CHARACTERS.text_decoder(), ["\n\n", "abc"])
    ready = []
    for character in "xaby\nz\n":
        until_stop.add(CHARACTERS.encode(character))
        ready.append(until_stop.text[: until_stop.ready()[0]])

    assert ready == ["x", "x", "x", "xaby", "xaby", "xaby\nz", "xaby\nz"]


def test_tokens_are_added_up_to_the_stop_string_and_those_ready_lie_in_the_text() -> None:
    until_stop = TextUntilStop(CHARACTERS.text_decoder(), ["cd"])

    assert until_stop.add(CHARACTERS.encode("abc")) == 3
    assert until_stop.ready() == (2, 2)
    assert until_stop.add(CHARACTERS.encode("def")) == 1
    assert until_stop.ready(ended=True) == (2, 2)


def test_half_a_character_is_not_ready() -> None:
    plain = BytePairTokenizer.from_corpus([])
    until_stop = TextUntilStop(plain.text_decoder(), ["!"])
    texts = []
    for token in plain.encode("x🎉"):
        until_stop.add([token])
        texts.append(until_stop.text[: until_stop.ready()[0]])

    assert texts == ["x", "x", "x", "x", "x🎉"]
