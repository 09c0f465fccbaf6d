"""From rows to supervised examples: what is held out, and which tokens are learned from."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tinygpt.data.rows import Row
from tinygpt.data.tokenizer import CharacterTokenizer

IGNORED = -100
"""The label of a position that is not learned from: the prompt, and padding (the `ignore_index` of the loss)."""


@dataclass(frozen=True)
class Example:
    """Inputs and labels, shifted by one: `labels[t]` is the token after `ids[t]`, `IGNORED` within the prompt."""

    ids: list[int]
    labels: list[int]
    code_characters: int
    """Characters of code that the labels stand for, `<EOS>` counted as one: what a loss is divided by."""


def encode_example(row: Row, tokenizer: CharacterTokenizer, context_length: int) -> Example | None:
    """The row as inputs and labels of at most `context_length`; None where the cut leaves nothing to learn."""
    tokens, code_start = tokenizer.encode_supervised(row.prompt, row.code)
    tokens = tokens[: context_length + 1]
    learned = len(tokens) - code_start
    if learned <= 0:
        return None
    ids = tokens[:-1]
    labels = [IGNORED] * (code_start - 1) + tokens[code_start:]
    return Example(ids=ids, labels=labels, code_characters=learned)


def encode_examples(rows: Sequence[Row], tokenizer: CharacterTokenizer, context_length: int) -> list[Example]:
    """Every row that has something to learn within the context."""
    encoded = (encode_example(row, tokenizer, context_length) for row in rows)
    return [example for example in encoded if example is not None]


@dataclass(frozen=True)
class Split:
    training: list[Row]
    held_out: list[Row]


def split_rows(rows: Sequence[Row], held_out_share: float = 0.1) -> Split:
    """Hold out whole prompts by a hash of the prompt, so that no prompt is on both sides.

    A prompt's side does not depend on the order of the rows. Exact repetitions count once. The held-out side is the
    smallest set of lowest hashes with at least `held_out_share` of the rows. Raises `ValueError` for fewer than two
    distinct prompts.
    """
    by_prompt: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_prompt.setdefault(_normalise(row.prompt), {}).setdefault(row.code, row)
    if len(by_prompt) < 2:
        raise ValueError("the data has fewer than two distinct prompts: one to learn from and one to test with")
    wanted = math.ceil(held_out_share * sum(map(len, by_prompt.values())))
    held_out: list[Row] = []
    held_out_prompts: set[str] = set()
    for prompt in sorted(by_prompt, key=_hash)[:-1]:
        if len(held_out) >= wanted:
            break
        held_out += by_prompt[prompt].values()
        held_out_prompts.add(prompt)
    training = [row for prompt, group in by_prompt.items() if prompt not in held_out_prompts for row in group.values()]
    return Split(training=training, held_out=held_out)


def _normalise(prompt: str) -> str:
    return " ".join(prompt.lower().split())


def _hash(prompt: str) -> bytes:
    return hashlib.blake2b(prompt.encode(), digest_size=8).digest()
