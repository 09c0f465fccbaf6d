"""What is kept of the tokens already seen, so that decoding computes only the new token's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass
class Cache:
    """Made by `TinyGPT.make_cache`. Lives as long as one sequence is decoded.

    Attention keeps the keys and values of every token; the recurrent architectures keep a state of fixed size.
    """

    layers: Sequence[Any]
    """One a block, of the kind that the block takes: `LayerCache`, `LSTMCache` or `MambaCache`."""
    recent_ids: Tensor
    """(batch, longest n-gram - 1)"""
    length: int = 0
    """Tokens held."""
