"""The character tokenizer: five control tokens, then printable ASCII, newline and tab, then the corpus's own."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from tinygpt.contracts.errors import InvalidCheckpoint
from tinygpt.durable import write_whole

PAD, UNK, PROMPT, CODE, EOS = range(5)
CONTROL_TOKENS = ("<PAD>", "<UNK>", "<PROMPT>", "<CODE>", "<EOS>")
BASE_CHARACTERS = "".join(map(chr, range(32, 127))) + "\n\t"


@dataclass(frozen=True)
class CharacterTokenizer:
    """Maps characters to ids and back. `characters[i]` has the id `i + 5`; ids 0 to 4 are the control tokens.

    Control tokens never come from text: `<EOS>` typed in a prompt is five characters.
    """

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
        ids = self._ids
        return [ids.get(character, UNK) for character in text]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; control tokens have none. Raises `IndexError` for an id beyond the vocabulary."""
        return "".join(self.characters[i - len(CONTROL_TOKENS)] for i in ids if i >= len(CONTROL_TOKENS))

    def encode_prompt(self, prompt: str) -> list[int]:
        """`<PROMPT>`, the prompt, `<CODE>`: what the model continues."""
        return [PROMPT, *self.encode(prompt), CODE]

    def encode_supervised(self, prompt: str, code: str) -> tuple[list[int], int]:
        """A whole example, `<PROMPT>` … `<CODE>` … `<EOS>`, and the index where the code starts."""
        head = self.encode_prompt(prompt)
        return [*head, *self.encode(code), EOS], len(head)

    def token_names(self, ids: Sequence[int]) -> list[str]:
        """How each id reads: for inspection, with control tokens written out."""
        return [CONTROL_TOKENS[i] if i < len(CONTROL_TOKENS) else self.decode([i]) for i in ids]

    def to_dict(self) -> dict[str, Any]:
        return {"type": "character", "control_tokens": list(CONTROL_TOKENS), "characters": self.characters}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Raises `ValueError` for anything that `to_dict` did not write."""
        if not isinstance(state, dict) or state.get("type") != "character":
            raise ValueError("not a character tokenizer")
        if state.get("control_tokens") != list(CONTROL_TOKENS) or not isinstance(state.get("characters"), str):
            raise ValueError("the control tokens or characters are not those of this version")
        return cls(state["characters"])

    def save(self, path: Path) -> None:
        """Write the vocabulary as JSON."""
        write_whole(path, json.dumps(self.to_dict(), ensure_ascii=False, indent=1))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. Raises `InvalidCheckpoint`, naming the file."""
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InvalidCheckpoint(f"{path} is no tokenizer file: {error}.") from error
