"""How many tokens lie in the text that is ready: log-probabilities are sent with the text that they belong to."""

import pytest

from tinygpt.data.tokenizer import CharacterTokenizer
from tinygpt.inference.stop_strings import TextUntilStop

TOKENIZER = CharacterTokenizer.from_corpus(["abc<>"])


def text_of(pieces: list[str], stop: list[str]) -> TextUntilStop:
    text = TextUntilStop(TOKENIZER.text_decoder(), stop)
    for piece in pieces:
        text.add(TOKENIZER.encode(piece))
    return text


@pytest.mark.parametrize("pieces", [["abc"], ["a", "bc"], ["a", "b", "c"]], ids=str)
@pytest.mark.parametrize("ended", [False, True])
def test_without_a_stop_string_every_token_is_ready_at_once(pieces: list[str], ended: bool) -> None:
    assert text_of(pieces, []).ready(ended=ended) == (3, 3)


def test_nothing_is_ready_before_the_first_token() -> None:
    assert text_of([], []).ready() == (0, 0)
    assert text_of([], ["<"]).ready() == (0, 0)


def test_what_may_become_a_stop_string_waits_until_the_end() -> None:
    text = text_of(["ab<"], ["<>"])

    assert text.ready() == (2, 2)
    assert text.ready(ended=True) == (3, 3)


def test_tokens_of_a_stop_string_are_not_in_the_text() -> None:
    text = text_of(["ab", "<>c"], ["<>"])

    assert (text.text, text.stopped, text.ready()) == ("ab", True, (2, 2))
