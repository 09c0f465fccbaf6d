"""The architectures: what a network's blocks are.

A block is a module that is made of a `ModelConfig` and the number of its layer, from 0, and has

- `forward(x, cache=None, labelled_positions=None)`: x (B, T, C) to (B, T, C). With a `cache`, x comes after what that
  holds, and is added to it. With N `labelled_positions`, indices into B * T, the result is theirs alone, (N, C);
- `make_cache(batch)`: an empty cache, to decode `batch` sequences side by side.

To add an architecture, write its block and name it here and in `config.Architecture`.
"""

from collections.abc import Callable

from torch import nn

from tinygpt.model.block import TransformerBlock
from tinygpt.model.config import Architecture, ModelConfig
from tinygpt.model.lstm import LSTMBlock
from tinygpt.model.mamba import MambaBlock

_BLOCKS: dict[Architecture, Callable[[ModelConfig, int], nn.Module]] = {
    "transformer": TransformerBlock,
    "lstm": LSTMBlock,
    "mamba": MambaBlock,
}


def make_blocks(config: ModelConfig) -> nn.ModuleList:
    """The blocks of a network, one a layer, from the first to the last."""
    block = _BLOCKS[config.architecture]
    return nn.ModuleList(block(config, layer) for layer in range(config.layers))
