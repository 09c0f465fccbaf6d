"""Brackets and quotes stay balanced: every rule, and agreement with post-processing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data.bundled import bundled_rows
from tinygpt.data.byte_pair import BytePairTokenizer
from tinygpt.data.rows import read_rows
from tinygpt.data.tokenizer import EOS, CharacterTokenizer, Tokenizer
from tinygpt.inference.balance import balanced_tokens, token_texts
from tinygpt.inference.postprocess import closers, parses
from tinygpt.inference.sampling import generated_tokens

CODES = [row.code for row in read_rows(bundled_rows("bundled"))[:2000]]
CHARACTERS = CharacterTokenizer.from_corpus(["é"])
BYTE_PAIRS = BytePairTokenizer.from_corpus([*CODES, "])", "'''", '"""'] * 2, vocab_size=600)
SPECIAL = "()[]{}'\"\\#\n"
texts = st.lists(st.sampled_from([*SPECIAL, "'''", '"""', "x", " ", "é"]), max_size=30).map("".join)


class Vocabulary:
    """What may follow a text, with one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._texts = token_texts(tokenizer)
        self._allowed = generated_tokens(tokenizer.vocab_size)

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)

    def may_follow(self, ids: list[int]) -> list[bool]:
        allowed: list[bool] = balanced_tokens(self._allowed, self._texts, np.array(ids, np.int32)).tolist()
        return allowed

    def refused(self, text: str) -> set[str]:
        names = self.tokenizer.token_names(range(self.tokenizer.vocab_size))
        following = self.may_follow(self.ids(text))
        return {names[i] for i, may in enumerate(following) if not may and self._allowed[i]}


characters, byte_pairs = Vocabulary(CHARACTERS), Vocabulary(BYTE_PAIRS)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("", {")", "]", "}"}),
        ("f(", {"<EOS>", "]", "}"}),
        ("f([", {"<EOS>", ")", "}"}),
        ("f([])", {")", "]", "}"}),
        ("'a", {"<EOS>", "\n"}),
        ('"', {"<EOS>", "\n"}),
        ("''", {")", "]", "}"}),
        ("\"it's", {"<EOS>", "\n"}),
        ("'\\", {"<EOS>"}),
        ("'\\'", {"<EOS>", "\n"}),
        ("'''a\n", {"<EOS>"}),
        ("'''a''", {"<EOS>"}),
        ("'''a''\\'", {"<EOS>"}),
        ("'''a'''", {")", "]", "}"}),
        ('"""""', {"<EOS>"}),
        ('""""""', {")", "]", "}"}),
        ("# it's (", set()),
        ("(# )", {"<EOS>"}),
        ("(# )\n", {"<EOS>", "]", "}"}),
        ("x = '(' + [", {"<EOS>", ")", "}"}),
        ("(" * 31, {"<EOS>", "(", "[", "{", "]", "}"}),
    ],
)
def test_what_may_not_follow(text: str, refused: set[str]) -> None:
    assert characters.refused(text) == refused


@given(texts)
def test_a_text_that_may_end_needs_no_closing(text: str) -> None:
    """Read character by character as long as each may follow."""
    ids: list[int] = []
    for token in characters.ids(text):
        if characters.may_follow(ids)[token]:
            ids.append(token)
    kept = CHARACTERS.decode(ids)

    assert characters.may_follow(ids)[EOS] == (closers(kept) == "")


@pytest.mark.parametrize("vocabulary", [characters, byte_pairs], ids=["characters", "byte pairs"])
def test_code_that_parses_is_never_refused(vocabulary: Vocabulary) -> None:
    codes = [code for code in CODES[::20] if parses(code)]
    for code in codes:
        ids = [*vocabulary.ids(code), EOS]
        for i, token in enumerate(ids):
            assert vocabulary.may_follow(ids[:i])[token], (code, i)


@given(texts)
def test_a_token_of_several_characters_may_follow_if_each_of_them_may(text: str) -> None:
    ids = byte_pairs.ids(text)
    read = BYTE_PAIRS.decode(ids)
    each = characters.ids(read)
    unbroken = next((i for i in range(len(each)) if not characters.may_follow(each[:i])[each[i]]), len(each))

    for i, token in enumerate(ids):
        end = len(BYTE_PAIRS.decode(ids[: i + 1]))
        assert byte_pairs.may_follow(ids[:i])[token] == (end <= unbroken)
        if end > unbroken:
            break


def test_control_tokens_are_still_never_generated() -> None:
    assert characters.may_follow([])[:EOS] == [False] * EOS
