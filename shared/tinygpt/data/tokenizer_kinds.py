"""The kinds of tokenizer: makes a new one, or restores one from a checkpoint."""

from collections.abc import Iterable
from typing import Any

from tinygpt.data.tokenizer import CharacterTokenizer, Tokenizer, TokenizerKind


def make_tokenizer(kind: TokenizerKind, texts: Iterable[str]) -> Tokenizer:
    """A tokenizer of this kind with the vocabulary of `texts`."""
    if kind == "byte_pair":
        from tinygpt.data.byte_pair import BytePairTokenizer  # here, because few runs need the package `tokenizers`

        return BytePairTokenizer.from_corpus(texts)
    return CharacterTokenizer.from_corpus(texts)


def tokenizer_from_dict(state: dict[str, Any]) -> Tokenizer:
    """The tokenizer whose `to_dict` gave `state`. Raises `ValueError` if none did."""
    if isinstance(state, dict) and state.get("type") == "byte_pair":
        from tinygpt.data.byte_pair import BytePairTokenizer

        return BytePairTokenizer.from_dict(state)
    return CharacterTokenizer.from_dict(state)
