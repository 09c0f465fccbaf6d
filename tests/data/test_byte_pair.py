"""The byte-pair tokenizer: any text there and back, no control token from text, and a model trained with it."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.contracts.generation import GenerateRequest
from tinygpt.data.byte_pair import BYTE_CHARACTERS, BytePairTokenizer
from tinygpt.data.rows import Row, read_rows
from tinygpt.data.tokenizer import (
    CODE,
    CONTROL_TOKENS,
    EOS,
    PROMPT,
    CharacterTokenizer,
    Tokenizer,
)
from tinygpt.data.tokenizer_kinds import make_tokenizer, tokenizer_from_dict
from tinygpt.inference.generator import CodeGenerator
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.model.config import ModelConfig
from tinygpt.training.config import TrainConfig
from tinygpt.training.run import train

FIRST_MERGED = len(CONTROL_TOKENS) + 256
CURATED = Path(__file__).resolve().parents[2] / "data" / "curated.jsonl"
TEXTS = [text for row in read_rows(CURATED) for text in (row.prompt, row.code)]
TOKENIZER = BytePairTokenizer.from_corpus([*TEXTS, *["größe 🎉🎉"] * 3])
ANY_IDS = st.lists(st.integers(0, TOKENIZER.vocab_size - 1))


def test_the_vocabulary_starts_with_the_control_tokens_then_the_bytes() -> None:
    tokenizer = BytePairTokenizer.from_corpus([])

    assert tokenizer.vocab_size == FIRST_MERGED
    assert tokenizer.token_names(range(5)) == ["<PAD>", "<UNK>", "<PROMPT>", "<CODE>", "<EOS>"]
    assert tokenizer.encode("a\n🎉") == [len(CONTROL_TOKENS) + byte for byte in "a\n🎉".encode()]


def test_a_byte_is_written_as_the_library_writes_it() -> None:
    assert set(BYTE_CHARACTERS) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    assert TOKENIZER.decode(range(len(CONTROL_TOKENS), len(CONTROL_TOKENS) + 128)) == "".join(map(chr, range(128)))


def test_what_the_corpus_repeats_becomes_one_token() -> None:
    tokenizer = BytePairTokenizer.from_corpus(["return x", "return y"])

    assert tokenizer.token_names(tokenizer.encode("return x")) == ["return", " ", "x"]


def test_a_pair_that_the_corpus_has_once_is_not_joined() -> None:
    assert BytePairTokenizer.from_corpus(["abc"]).merges == ()


def test_the_vocabulary_has_at_most_the_size_asked_for() -> None:
    assert TOKENIZER.vocab_size == 1024
    assert BytePairTokenizer.from_corpus(TEXTS, vocab_size=300).vocab_size == 300
    with pytest.raises(ValueError, match="at least 261"):
        BytePairTokenizer.from_corpus(TEXTS, vocab_size=260)


def test_two_merges_that_make_the_same_token_give_it_one_id() -> None:
    tokenizer = BytePairTokenizer((("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc"), ("abc", "d")))

    assert tokenizer.vocab_size == FIRST_MERGED + 4
    assert tokenizer.token_names(range(FIRST_MERGED, tokenizer.vocab_size)) == ["ab", "bc", "abc", "abcd"]


@given(st.text() | st.text(st.sampled_from("größe 🎉\n\tdef return(nums)\r\0\u0301")))
def test_decoding_gives_back_any_text(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(st.lists(st.text()), st.text())
def test_decoding_gives_back_any_text_whatever_the_corpus(corpus: list[str], text: str) -> None:
    tokenizer = BytePairTokenizer.from_corpus([*corpus, *corpus])

    assert all(tokenizer.decode(tokenizer.encode(each)) == each for each in [*corpus, text])


@given(st.lists(st.text() | st.sampled_from(CONTROL_TOKENS)))
def test_no_text_becomes_a_control_token(pieces: list[str]) -> None:
    assert all(len(CONTROL_TOKENS) <= i < TOKENIZER.vocab_size for i in TOKENIZER.encode("".join(pieces)))


def test_control_tokens_that_the_corpus_is_full_of_are_text() -> None:
    text = "".join(CONTROL_TOKENS)
    tokenizer = BytePairTokenizer.from_corpus([text, *CONTROL_TOKENS] * 50)

    ids = tokenizer.encode(text)

    assert all(i >= len(CONTROL_TOKENS) for i in ids)
    assert len(ids) < len(text)
    assert tokenizer.decode(ids) == text


def test_half_a_surrogate_pair_is_a_question_mark() -> None:
    tokenizer = BytePairTokenizer.from_corpus(["a\ud800"])

    assert tokenizer.decode(tokenizer.encode("a\udfffb")) == "a?b"


def test_no_token_reaches_from_the_prompt_into_the_code() -> None:
    tokenizer = BytePairTokenizer.from_corpus(["nums[0]", "nums[0]"])

    ids, code_start = tokenizer.encode_supervised("nums", "[0]")

    assert ids == [PROMPT, *tokenizer.encode("nums"), CODE, *tokenizer.encode("[0]"), EOS]
    assert ids[:code_start] == tokenizer.encode_prompt("nums")
    assert tokenizer.decode(ids[code_start:]) == "[0]"


@given(ANY_IDS, st.integers(0))
def test_what_the_first_ids_decode_to_is_the_start_of_what_all_do(ids: list[int], first: int) -> None:
    assert TOKENIZER.decode(ids).startswith(TOKENIZER.decode(ids[: first % (len(ids) + 1)]))


@given(ANY_IDS, st.lists(st.integers(0), max_size=5))
def test_text_decoded_little_by_little_is_the_text_decoded_at_once(ids: list[int], cuts: list[int]) -> None:
    places = [0, *sorted(cut % (len(ids) + 1) for cut in cuts), len(ids)]
    text_of = TOKENIZER.text_decoder()

    assert "".join(text_of(ids[start:end]) for start, end in pairwise(places)) == TOKENIZER.decode(ids)


def test_half_a_character_is_left_out_and_invalid_bytes_are_replaced() -> None:
    plain = BytePairTokenizer.from_corpus([])
    ids = plain.encode("x🎉")

    assert [plain.decode(ids[:length]) for length in range(1, 6)] == ["x", "x", "x", "x", "x🎉"]
    assert plain.decode([*ids[:3], *plain.encode("y")]) == "x\ufffdy"


def test_a_token_that_is_no_text_by_itself_is_named_by_its_bytes() -> None:
    plain = BytePairTokenizer.from_corpus([])

    assert plain.token_names([PROMPT, *plain.encode("é"), EOS]) == ["<PROMPT>", "\\xc3", "\\xa9", "<EOS>"]


@given(st.text())
@pytest.mark.parametrize("tokenizer", [TOKENIZER, CharacterTokenizer.from_corpus([])], ids=["byte pair", "character"])
def test_ids_are_counted_in_characters_and_a_control_token_as_one(tokenizer: Tokenizer, code: str) -> None:
    ids, code_start = tokenizer.encode_supervised("say", code)

    assert tokenizer.character_count(ids[code_start:]) == len(code) + 1


def test_an_id_beyond_the_vocabulary_is_refused() -> None:
    with pytest.raises(IndexError):
        TOKENIZER.decode([TOKENIZER.vocab_size])


def test_the_same_corpus_gives_the_same_tokenizer_in_any_order() -> None:
    again = BytePairTokenizer.from_corpus(reversed([*TEXTS, *["größe 🎉🎉"] * 3]))

    assert again == TOKENIZER
    assert again.encode(" ".join(TEXTS)) == TOKENIZER.encode(" ".join(TEXTS))


def test_the_same_corpus_gives_the_same_tokenizer_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS))
    script = (
        "import json, pathlib, sys; from tinygpt.data.byte_pair import BytePairTokenizer;"
        "folder = pathlib.Path(sys.argv[1]); texts = json.loads((folder / 'texts.json').read_text());"
        "print(json.dumps(BytePairTokenizer.from_corpus(texts).to_dict()))"
    )

    printed = subprocess.run([sys.executable, "-c", script, tmp_path], check=True, stdout=subprocess.PIPE).stdout

    assert BytePairTokenizer.from_dict(json.loads(printed)) == BytePairTokenizer.from_corpus(TEXTS)


def test_either_tokenizer_is_rebuilt_from_its_own_plain_values() -> None:
    for kind in ("characters", "byte_pair"):
        tokenizer = make_tokenizer(kind, TEXTS)

        rebuilt = tokenizer_from_dict(json.loads(json.dumps(tokenizer.to_dict())))

        assert rebuilt == tokenizer
        assert [rebuilt.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
    assert isinstance(make_tokenizer("characters", TEXTS), CharacterTokenizer)
    assert isinstance(make_tokenizer("byte_pair", TEXTS), BytePairTokenizer)


@pytest.mark.parametrize(
    "other",
    [
        {"type": "character"},
        {"control_tokens": ["<EOS>"]},
        {"merges": None},
        {"merges": [["a"]]},
        {"merges": [["a", 1]]},
        {"merges": ["ab"]},
        {"merges": [["ab", "c"]]},
        {"merges": [["a", "😀"]]},
        {"merges": [["a", "b"], ["a", "b"]]},
    ],
    ids=str,
)
def test_what_is_no_byte_pair_tokenizer_is_refused(other: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"merge|tokens|version|tokenizer"):
        BytePairTokenizer.from_dict({**TOKENIZER.to_dict(), **other})


def test_a_model_is_trained_saved_loaded_resumed_and_asked_with_it(tmp_path: Path) -> None:
    config = TrainConfig(
        model=ModelConfig(context_length=48, layers=1, heads=2, width=16, dropout=0.0),
        tokenizer="byte_pair",
        batch_size=8,
        max_steps=6,
        max_seconds=None,
        evaluations=2,
        precision="fp32",
        threads=1,
    )
    rows = [Row(f"add {i} to größe 🎉", f"größe + {i}  # 🎉") for i in range(40)]

    best = load_checkpoint(train(config, rows, folder=tmp_path).best)
    again = train(config, rows, folder=tmp_path)

    assert again.steps == 6
    assert isinstance(best.tokenizer, BytePairTokenizer)
    assert best.model.config.vocab_size == best.tokenizer.vocab_size > FIRST_MERGED
    generator = CodeGenerator(best.model, best.tokenizer, model_id="r-1")
    for seed in range(5):
        answer = generator.generate(
            GenerateRequest(
                prompt="add 3 to <EOS> 漢", temperature=2.0, seed=seed, max_new_tokens=16, post_process=False
            )
        )
        assert answer.usage.prompt_tokens == len(best.tokenizer.encode("add 3 to <EOS> 漢")) + 2
        assert 0 < answer.usage.completion_tokens <= 16
