"""From rows to supervised examples: which tokens are learned from."""

from collections.abc import Sequence
from dataclasses import dataclass

from tinygpt.data.rows import Row
from tinygpt.data.tokenizer import Tokenizer

IGNORED = -100
"""The label of a position that is not learned from: the prompt, and padding (the `ignore_index` of the loss)."""


@dataclass(frozen=True)
class Example:
    """Inputs and labels, shifted by one: `labels[t]` is the token after `ids[t]`, `IGNORED` within the prompt."""

    ids: list[int]
    labels: list[int]
    code_characters: int
    """Characters of code that the labels stand for, `<EOS>` counted as one: what a loss is divided by."""


def example_of(tokens: list[int], code_start: int, code_characters: int) -> Example:
    """The example made of a row's tokens. Those from `code_start` on are learned."""
    labels = [IGNORED] * (code_start - 1) + tokens[code_start:]
    return Example(ids=tokens[:-1], labels=labels, code_characters=code_characters)


def encode_row(row: Row, tokenizer: Tokenizer, context_length: int) -> tuple[list[int], int, int] | None:
    """The arguments of `example_of`: the row's tokens (at most one more than `context_length`), the index of its code's
    first token, and the characters of its code. None if the cut leaves nothing to learn."""
    tokens, code_start = tokenizer.encode_supervised(row.prompt, row.code)
    tokens = tokens[: context_length + 1]
    code_characters = tokenizer.character_count(tokens[code_start:])
    if code_characters == 0:  # nothing is left, or only the first bytes of a character
        return None
    return tokens, code_start, code_characters


def encode_example(row: Row, tokenizer: Tokenizer, context_length: int) -> Example | None:
    """The row as inputs and labels of at most `context_length`; None if the cut leaves nothing to learn."""
    encoded = encode_row(row, tokenizer, context_length)
    return example_of(*encoded) if encoded is not None else None


def encode_examples(rows: Sequence[Row], tokenizer: Tokenizer, context_length: int) -> list[Example]:
    """Every row that has something to learn within the context."""
    encoded = (encode_example(row, tokenizer, context_length) for row in rows)
    return [example for example in encoded if example is not None]
