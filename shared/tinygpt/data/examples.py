"""From rows to supervised examples: what is held out, and which tokens are learned from."""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from tinygpt.data.rows import Row
from tinygpt.data.tokenizer import Tokenizer

IGNORED = -100
"""The label of a position that is not learned from: the prompt, and padding (the `ignore_index` of the loss)."""
HELD_OUT_SHARE = 0.1
"""Share of the rows that a run is validated on."""
TOO_FEW_PROMPTS = "the data has fewer than two distinct prompts: one to learn from and one to test with"


@dataclass(frozen=True)
class Example:
    """Inputs and labels, shifted by one: `labels[t]` is the token after `ids[t]`, `IGNORED` within the prompt."""

    ids: list[int]
    labels: list[int]
    code_characters: int
    """Characters of code that the labels stand for, `<EOS>` counted as one: what a loss is divided by."""


def example_of(tokens: list[int], code_start: int, code_characters: int) -> Example:
    """The example that a row's tokens make, of which those from `code_start` on are learned."""
    labels = [IGNORED] * (code_start - 1) + tokens[code_start:]
    return Example(ids=tokens[:-1], labels=labels, code_characters=code_characters)


def encode_row(row: Row, tokenizer: Tokenizer, context_length: int) -> tuple[list[int], int, int] | None:
    """What `example_of` makes an example from: the row's tokens, cut after one more than `context_length`, where its
    code starts, and its code's characters. None where the cut leaves nothing to learn."""
    tokens, code_start = tokenizer.encode_supervised(row.prompt, row.code)
    tokens = tokens[: context_length + 1]
    code_characters = tokenizer.character_count(tokens[code_start:])
    if code_characters == 0:  # nothing is left, or no more than the first bytes of a character
        return None
    return tokens, code_start, code_characters


def encode_example(row: Row, tokenizer: Tokenizer, context_length: int) -> Example | None:
    """The row as inputs and labels of at most `context_length`; None where the cut leaves nothing to learn."""
    encoded = encode_row(row, tokenizer, context_length)
    return example_of(*encoded) if encoded is not None else None


def encode_examples(rows: Sequence[Row], tokenizer: Tokenizer, context_length: int) -> list[Example]:
    """Every row that has something to learn within the context."""
    encoded = (encode_example(row, tokenizer, context_length) for row in rows)
    return [example for example in encoded if example is not None]


@dataclass(frozen=True)
class Split:
    training: list[Row]
    held_out: list[Row]


def split_rows(rows: Sequence[Row], held_out_share: float = HELD_OUT_SHARE) -> Split:
    """Hold out whole prompts by a hash of the prompt, so that no prompt is on both sides.

    A prompt's side does not depend on the order of the rows. Exact repetitions count once. The held-out side is in the
    order of its prompts' hashes, so that its first rows are a random sample; the training side in the order of `rows`.
    Raises `ValueError` for fewer than two distinct prompts.
    """
    distinct: dict[tuple[str, str], Row] = {}
    for row in rows:
        distinct.setdefault((normalise(row.prompt), row.code), row)
    hashes = [prompt_hash(prompt) for prompt, _ in distinct]
    first_training = first_training_hash(hashes, held_out_share)
    hashed = list(zip(hashes, distinct.values(), strict=True))
    training = [row for prompts_hash, row in hashed if prompts_hash >= first_training]
    held_out = sorted((pair for pair in hashed if pair[0] < first_training), key=itemgetter(0))
    return Split(training, [row for _, row in held_out])


def first_training_hash(hashes: Iterable[int], held_out_share: float) -> int:
    """The lowest prompt hash that is not held out, given the prompt hash of every distinct row.

    Held out is the smallest set of lowest hashes with at least `held_out_share` (above 0, below 1) of the rows, but not
    the last prompt. So datasets that share prompts hold out mostly the same ones, and a model can be judged on what
    another's data hold out. Two prompts with the same 64 bits, one chance in 30 million among a million prompts, would
    be on the same side. Raises `ValueError` for fewer than two prompts.
    """
    ordered = sorted(hashes)
    if not ordered or ordered[0] == ordered[-1]:
        raise ValueError(TOO_FEW_PROMPTS)
    wanted = math.ceil(held_out_share * len(ordered))
    next_prompt = bisect_right(ordered, ordered[wanted - 1])
    return ordered[min(next_prompt, len(ordered) - 1)]


def normalise(prompt: str) -> str:
    """The prompt without capitals and spare spaces: prompts that are then the same are one prompt."""
    return " ".join(prompt.lower().split())


def prompt_hash(normalised: str) -> int:
    """64 bits, whose order decides which prompts are held out."""
    return int.from_bytes(hashlib.blake2b(normalised.encode(), digest_size=8).digest())
