"""What a row is learned from."""

from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data.examples import IGNORED, encode_example, encode_examples
from tinygpt.data.rows import Row
from tinygpt.data.tokenizer import EOS, CharacterTokenizer
from tinygpt.data.tokenizer_kinds import make_tokenizer

TOKENIZER = CharacterTokenizer.from_corpus([])


def test_labels_are_the_inputs_shifted_by_one_and_the_prompt_has_none() -> None:
    example = encode_example(Row("one", "1+0"), TOKENIZER, context_length=16)

    tokens, code_start = TOKENIZER.encode_supervised("one", "1+0")
    assert example is not None
    assert example.ids == tokens[:-1]
    assert example.labels == [IGNORED] * (code_start - 1) + [*TOKENIZER.encode("1+0"), EOS]
    assert len(example.ids) == len(example.labels)


def test_the_first_label_stands_where_the_input_is_the_code_token() -> None:
    example = encode_example(Row("one", "1"), TOKENIZER, context_length=16)

    assert example is not None
    first = next(i for i, label in enumerate(example.labels) if label != IGNORED)
    assert TOKENIZER.token_names([example.ids[first], example.labels[first]]) == ["<CODE>", "1"]


@given(
    prompt=st.text("ab", min_size=1, max_size=20), code=st.text("xy", min_size=1, max_size=20), room=st.integers(1, 40)
)
def test_a_cut_row_keeps_what_fits_and_counts_only_that(prompt: str, code: str, room: int) -> None:
    example = encode_example(Row(prompt, code), TOKENIZER, room)

    fits = min(len(code) + 1, room + 1 - (len(prompt) + 2))
    if fits <= 0:
        assert example is None
    else:
        assert example is not None
        assert len(example.ids) <= room
        learned = [label for label in example.labels if label != IGNORED]
        assert learned == [*TOKENIZER.encode(code), EOS][:fits]
        assert example.code_characters == fits


def test_rows_with_nothing_left_to_learn_are_left_out() -> None:
    long = Row("p" * 100, "1")

    assert encode_examples([long, Row("one", "1"), long], TOKENIZER, 32) == encode_examples(
        [Row("one", "1")], TOKENIZER, 32
    )
    assert encode_examples([long], TOKENIZER, 32) == []


def test_a_cut_within_the_first_character_of_the_code_leaves_nothing_to_learn() -> None:
    tokenizer = make_tokenizer("byte_pair", ["p"])
    row = Row("p", "中")  # three bytes, three tokens

    whole, cut = (encode_example(row, tokenizer, context_length) for context_length in (6, 4))

    assert whole is not None
    assert whole.code_characters == 2
    assert cut is None
