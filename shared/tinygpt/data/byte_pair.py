"""The byte-pair tokenizer: control tokens, the 256 bytes, then the pairs that the corpus joins most often.

Byte-pair encoding (Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016) on UTF-8
bytes, with GPT-2's split into words (Radford et al., 2019): no text is beyond its vocabulary.
"""

import codecs
import itertools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import tokenizers

from tinygpt.data.tokenizer import CONTROL_TOKENS, TextDecoder, Tokenizer

VOCAB_SIZE = 1024
_LEAST_OCCURRENCES = 2
"""A pair that the corpus has fewer times is not joined."""

# The library's threads do not survive the forks of the trainer and of the judge.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _byte_characters() -> list[str]:
    """GPT-2's character for every byte: its own if that is printable, else the next one from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = itertools.count(0x100)
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


BYTE_CHARACTERS = _byte_characters()
_BYTES = {character: byte for byte, character in enumerate(BYTE_CHARACTERS)}


@dataclass(frozen=True)
class BytePairTokenizer(Tokenizer):
    """Joins bytes to tokens by `merges`, in their order. Byte `b` has the id `b + 5`; what merges make comes after.

    In `merges` a byte is written as GPT-2's character for it. Control tokens are no part of what is joined, so no text
    becomes one. Half a surrogate pair, which UTF-8 has no bytes for, is encoded as `?`.
    """

    merges: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        if len(set(self.merges)) != len(self.merges):
            raise ValueError("a merge stands twice in the vocabulary")
        known = set(BYTE_CHARACTERS)
        for left, right in self.merges:
            if left not in known or right not in known:
                raise ValueError(f"a merge joins {left!r} and {right!r} before they are tokens")
            known.add(left + right)

    @classmethod
    def from_corpus(cls, texts: Iterable[str], vocab_size: int = VOCAB_SIZE) -> Self:
        """The vocabulary of a corpus: at most `vocab_size` tokens, fewer if `texts` repeat too few pairs.

        Raises `ValueError` for a `vocab_size` without room for the control tokens and the bytes.
        """
        room = vocab_size - len(CONTROL_TOKENS)
        if room < len(BYTE_CHARACTERS):
            raise ValueError(f"vocab_size must be at least {len(CONTROL_TOKENS) + len(BYTE_CHARACTERS)}")
        bpe = _byte_level(tokenizers.models.BPE())
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=room,
            min_frequency=_LEAST_OCCURRENCES,
            initial_alphabet=BYTE_CHARACTERS,
            show_progress=False,
        )
        bpe.train_from_iterator(map(_valid_unicode, texts), trainer)
        return cls(tuple((left, right) for left, right in json.loads(bpe.to_str())["model"]["merges"]))

    @cached_property
    def _tokens(self) -> list[str]:
        """Every token but the control tokens. Two merges may make the same one."""
        return list(dict.fromkeys([*BYTE_CHARACTERS, *(left + right for left, right in self.merges)]))

    @cached_property
    def _token_bytes(self) -> list[bytes]:
        return [bytes(_BYTES[character] for character in token) for token in self._tokens]

    @cached_property
    def _bpe(self) -> tokenizers.Tokenizer:
        ids = {token: i for i, token in enumerate(self._tokens, start=len(CONTROL_TOKENS))}
        return _byte_level(tokenizers.models.BPE(ids, list(self.merges)))

    @property
    def vocab_size(self) -> int:
        return len(CONTROL_TOKENS) + len(self._tokens)

    def encode(self, text: str) -> list[int]:
        """The ids of the joined bytes; never a control token."""
        ids: list[int] = self._bpe.encode(_valid_unicode(text)).ids
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`. Bytes that are no UTF-8 become U+FFFD; a character that `ids` end within is left out."""
        return self.text_decoder()(ids)

    def text_decoder(self) -> TextDecoder:
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")

        def text_of(ids: Iterable[int]) -> str:
            return utf8.decode(
                b"".join(self._token_bytes[i - len(CONTROL_TOKENS)] for i in ids if i >= len(CONTROL_TOKENS))
            )

        return text_of

    def token_names(self, ids: Sequence[int]) -> list[str]:
        """As of every tokenizer; bytes that are no text by themselves read as escapes, `\\xf0`."""
        return [
            CONTROL_TOKENS[i]
            if i < len(CONTROL_TOKENS)
            else self._token_bytes[i - len(CONTROL_TOKENS)].decode(errors="backslashreplace")
            for i in ids
        ]

    def token_bytes(self, id: int) -> bytes:
        return self._token_bytes[id - len(CONTROL_TOKENS)] if id >= len(CONTROL_TOKENS) else b""

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": "byte_pair",
            "control_tokens": list(CONTROL_TOKENS),
            "merges": [list(merge) for merge in self.merges],
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        if not isinstance(state, dict) or state.get("type") != "byte_pair":
            raise ValueError("not a byte-pair tokenizer")
        merges = state.get("merges")
        if state.get("control_tokens") != list(CONTROL_TOKENS) or not isinstance(merges, list):
            raise ValueError("the control tokens or merges are not those of this version")
        if not all(isinstance(merge, list) and [type(part) for part in merge] == [str, str] for merge in merges):
            raise ValueError("a merge is not a pair of tokens")
        return cls(tuple((left, right) for left, right in merges))


def _byte_level(model: tokenizers.models.BPE) -> tokenizers.Tokenizer:
    """The library's tokenizer around `model`, with GPT-2's split into words, a space kept before its word."""
    bpe = tokenizers.Tokenizer(model)
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return bpe


def _valid_unicode(text: str) -> str:
    return text.encode(errors="replace").decode()
