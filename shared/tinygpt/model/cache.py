"""What is kept of the tokens already read, so that decoding computes only what is new."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass
class Cache:
    """Made by `TinyGPT.make_cache` for the sequences of one batch.

    Attention keeps the keys and values of every token. The recurrent architectures keep a state of fixed size.
    """

    layers: Sequence[Any]
    """What each block keeps, made by the block's `make_cache`."""
    recent_ids: Tensor
    """(batch, longest n-gram - 1): the last tokens, which n-grams of the next one reach back to."""
    length: int = 0
    """Tokens read."""
