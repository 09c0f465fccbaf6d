"""What every tokenizer offers, and the character one: control tokens, printable ASCII, what the corpus adds."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any, Literal, Self

PAD, UNK, PROMPT, CODE, EOS = range(5)
CONTROL_TOKENS = ("<PAD>", "<UNK>", "<PROMPT>", "<CODE>", "<EOS>")
BASE_CHARACTERS = "".join(map(chr, range(32, 127))) + "\n\t"

TokenizerKind = Literal["characters", "byte_pair"]
TextDecoder = Callable[[Iterable[int]], str]


class Tokenizer(ABC):
    """Maps text to ids and back. Ids 0 to 4 are the control tokens, the same in every tokenizer.

    Control tokens but `<UNK>` never come from text: `<EOS>` typed in a prompt is text like any other.
    """

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Ids run from 0 to `vocab_size - 1`, control tokens included."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without `<PROMPT>`, `<CODE>` or `<EOS>`."""

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; control tokens have none. Raises `IndexError` for an id beyond the vocabulary.

        What the first ids decode to is the start of what they all do, so text can be shown while it is generated.
        """

    @abstractmethod
    def text_decoder(self) -> TextDecoder:
        """`decode` for ids that come little by little: each call gives the text that its ids complete."""

    @abstractmethod
    def token_names(self, ids: Sequence[int]) -> list[str]:
        """How each id reads: for inspection, with control tokens written out."""

    @abstractmethod
    def token_bytes(self, id: int) -> bytes:
        """The bytes of UTF-8 that a token stands for, which need not be whole characters; none for a control token."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The tokenizer as plain values. `type` names its class."""

    @classmethod
    @abstractmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Raises `ValueError` for anything that `to_dict` did not write."""

    def encode_prompt(self, prompt: str) -> list[int]:
        """`<PROMPT>`, the prompt, `<CODE>`: what the model continues."""
        return [PROMPT, *self.encode(prompt), CODE]

    def encode_supervised(self, prompt: str, code: str) -> tuple[list[int], int]:
        """A whole example, `<PROMPT>` … `<CODE>` … `<EOS>`, and the index where the code starts."""
        head = self.encode_prompt(prompt)
        return [*head, *self.encode(code), EOS], len(head)

    def character_count(self, ids: Sequence[int]) -> int:
        """The characters that `ids` stand for, a control token counted as one."""
        return len(self.decode(ids)) + sum(i < len(CONTROL_TOKENS) for i in ids)


@dataclass(frozen=True)
class CharacterTokenizer(Tokenizer):
    """One id a character: `characters[i]` has the id `i + 5`."""

    characters: str

    def __post_init__(self) -> None:
        if len(set(self.characters)) != len(self.characters):
            raise ValueError("a character stands twice in the vocabulary")

    @classmethod
    def from_corpus(cls, texts: Iterable[str]) -> Self:
        """The vocabulary of a corpus: the base characters, then what `texts` add in code-point order."""
        added = set().union(*texts) - set(BASE_CHARACTERS)
        return cls(BASE_CHARACTERS + "".join(sorted(added)))

    @property
    def vocab_size(self) -> int:
        return len(CONTROL_TOKENS) + len(self.characters)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {character: i for i, character in enumerate(self.characters, start=len(CONTROL_TOKENS))}

    def encode(self, text: str) -> list[int]:
        """The id of every character, `<UNK>` for one that the vocabulary lacks."""
        return list(map(self._ids.get, text, repeat(UNK)))

    def character_count(self, ids: Sequence[int]) -> int:
        return len(ids)

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.characters[i - len(CONTROL_TOKENS)] for i in ids if i >= len(CONTROL_TOKENS))

    def text_decoder(self) -> TextDecoder:
        return self.decode

    def token_names(self, ids: Sequence[int]) -> list[str]:
        return [CONTROL_TOKENS[i] if i < len(CONTROL_TOKENS) else self.decode([i]) for i in ids]

    def token_bytes(self, id: int) -> bytes:
        return self.decode([id]).encode()

    def to_dict(self) -> dict[str, Any]:
        return {"type": "character", "control_tokens": list(CONTROL_TOKENS), "characters": self.characters}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        if not isinstance(state, dict) or state.get("type") != "character":
            raise ValueError("not a character tokenizer")
        if state.get("control_tokens") != list(CONTROL_TOKENS) or not isinstance(state.get("characters"), str):
            raise ValueError("the control tokens or characters are not those of this version")
        return cls(state["characters"])
