"""The character tokenizer: its vocabulary, both ways, and its plain values."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data.tokenizer import CODE, CONTROL_TOKENS, EOS, PAD, PROMPT, UNK, CharacterTokenizer

TOKENIZER = CharacterTokenizer.from_corpus(["größe 🎉", "naïve"])


def test_the_vocabulary_starts_with_control_tokens_ascii_newline_and_tab() -> None:
    tokenizer = CharacterTokenizer.from_corpus([])

    assert (PAD, UNK, PROMPT, CODE, EOS) == (0, 1, 2, 3, 4)
    assert tokenizer.token_names(range(5)) == ["<PAD>", "<UNK>", "<PROMPT>", "<CODE>", "<EOS>"]
    assert tokenizer.encode(" ~\n\t") == [5, 99, 100, 101]
    assert tokenizer.vocab_size == 102


def test_what_the_corpus_adds_comes_last_in_code_point_order() -> None:
    assert TOKENIZER.token_names(range(102, TOKENIZER.vocab_size)) == ["ß", "ï", "ö", "🎉"]


def test_the_vocabulary_does_not_depend_on_the_order_of_the_corpus() -> None:
    assert CharacterTokenizer.from_corpus(["naïve", "größe 🎉"]) == TOKENIZER


@given(st.text(st.sampled_from(TOKENIZER.characters)))
def test_decoding_gives_back_every_text_of_the_vocabulary(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(st.lists(st.text()), st.text())
def test_every_text_of_the_corpus_is_in_its_vocabulary(corpus: list[str], text: str) -> None:
    tokenizer = CharacterTokenizer.from_corpus([*corpus, text])

    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.text())
def test_any_text_has_one_id_a_character_and_never_a_control_token_but_unknown(text: str) -> None:
    ids = TOKENIZER.encode(text)

    assert len(ids) == len(text)
    assert {i for i in ids if i < len(CONTROL_TOKENS)} <= {UNK}
    assert [i == UNK for i in ids] == [character not in TOKENIZER.characters for character in text]


def test_control_tokens_typed_in_a_prompt_are_text() -> None:
    ids = TOKENIZER.encode_prompt("<EOS><CODE><PAD>")

    assert ids[0] == PROMPT
    assert ids[-1] == CODE
    assert all(i >= len(CONTROL_TOKENS) for i in ids[1:-1])
    assert TOKENIZER.decode(ids) == "<EOS><CODE><PAD>"


def test_a_supervised_example_is_the_prompt_then_the_code_and_says_where_it_starts() -> None:
    ids, code_start = TOKENIZER.encode_supervised("one", "1\n")

    assert ids == [PROMPT, *TOKENIZER.encode("one"), CODE, *TOKENIZER.encode("1\n"), EOS]
    assert TOKENIZER.decode(ids[code_start:]) == "1\n"
    assert ids[:code_start] == TOKENIZER.encode_prompt("one")


def test_an_id_beyond_the_vocabulary_is_refused() -> None:
    with pytest.raises(IndexError):
        TOKENIZER.decode([TOKENIZER.vocab_size])


def test_a_character_twice_in_the_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        CharacterTokenizer("abca")


def test_it_is_rebuilt_from_its_plain_values() -> None:
    assert CharacterTokenizer.from_dict(json.loads(json.dumps(TOKENIZER.to_dict()))) == TOKENIZER


@pytest.mark.parametrize(
    "state",
    [
        "[]",
        "{}",
        '{"type": "bpe"}',
        '{"type": "character", "control_tokens": ["<EOS>"], "characters": "ab"}',
        '{"type": "character", "control_tokens": ["<PAD>","<UNK>","<PROMPT>","<CODE>","<EOS>"], "characters": 1}',
        '{"type": "character", "control_tokens": ["<PAD>","<UNK>","<PROMPT>","<CODE>","<EOS>"], "characters": "aa"}',
    ],
)
def test_what_is_no_tokenizer_is_refused(state: str) -> None:
    with pytest.raises(ValueError, match=r"tokenizer|version|twice"):
        CharacterTokenizer.from_dict(json.loads(state))
