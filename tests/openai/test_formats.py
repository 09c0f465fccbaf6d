"""Answers in OpenAI's words where a token is not a whole character."""

import pytest

from tinygpt.contracts.generation import GenerateDelta, TokenLogprob
from tinygpt.contracts.models import LoadedModel
from tinygpt.data.byte_pair import BytePairTokenizer
from tinygpt.data.tokenizer import CharacterTokenizer, Tokenizer
from tinygpt.openai.formats import ChatFormat, CompletionFormat

MODEL = LoadedModel.model_construct(model_id="r-1", sha256="0" * 64)  # type: ignore[call-arg]
TEXT = "aé🙂b"


def tokens_of(tokenizer: Tokenizer) -> list[TokenLogprob]:
    ids = tokenizer.encode(TEXT)
    names = tokenizer.token_names(ids)
    return [TokenLogprob(token=name, id=token, logprob=-1.0) for token, name in zip(ids, names, strict=True)]


@pytest.mark.parametrize(
    "tokenizer", [CharacterTokenizer.from_corpus([TEXT]), BytePairTokenizer(())], ids=["characters", "bytes"]
)
def test_the_bytes_of_a_chats_tokens_are_together_those_of_its_text(tokenizer: Tokenizer) -> None:
    delta = GenerateDelta(text=TEXT, logprobs=tokens_of(tokenizer))
    logprobs = ChatFormat(MODEL, tokenizer).delta(0, delta).choices[0].logprobs
    assert logprobs is not None
    assert bytes(byte for token in logprobs.content for byte in token.bytes).decode() == TEXT


def test_a_completions_offsets_count_whole_characters_from_one_delta_to_the_next() -> None:
    tokenizer = BytePairTokenizer(())
    format_, offsets = CompletionFormat(MODEL, tokenizer), []
    for token in tokens_of(tokenizer):
        logprobs = format_.delta(0, GenerateDelta(text="", logprobs=[token])).choices[0].logprobs
        assert logprobs is not None
        offsets += logprobs.text_offset
    assert offsets == [0, 1, 1, 2, 2, 2, 2, 3]
