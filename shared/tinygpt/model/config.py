"""Every size of the network, and the presets."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ModelConfig:
    """Hyperparameters that rebuild a model. `width` is d_model; a head has `width // heads` of it."""

    vocab_size: int = 102
    context_length: int = 256
    layers: int = 2
    heads: int = 4
    width: int = 128
    dropout: float = 0.1
    """After the embedding and after each attention and MLP block (Srivastava et al., 2014)."""
    attention_dropout: float = 0.0
    """On the attention weights. Above 0 it leaves the fused kernel on CPU, which costs a factor of four."""
    positions: Literal["learned", "rotary"] = "learned"
    """`learned`: an embedding added to the token's (GPT-2). `rotary`: queries and keys turned (Su et al., 2021)."""
    qk_norm: bool = False
    """Queries and keys normalised to the same length before they are compared (Henry et al., 2020)."""
    tie_weights: bool = True
    """The output head shares the token embedding's weights (Press & Wolf, 2017)."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "layers", "heads", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.positions not in ("learned", "rotary"):
            raise ValueError(f"positions is {self.positions!r}; it must be learned or rotary")
        if self.positions == "rotary" and self.head_width % 2:
            raise ValueError(f"rotary positions need an even width of a head, not {self.head_width}")
        if not 0 <= self.dropout < 1 or not 0 <= self.attention_dropout < 1:
            raise ValueError("dropout and attention_dropout must be at least 0 and below 1")

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def mlp_width(self) -> int:
        return 4 * self.width


SizeName = Literal["tiny", "small"]
SIZES: dict[SizeName, ModelConfig] = {
    "tiny": ModelConfig(layers=2, heads=4, width=128, positions="rotary", qk_norm=True),
    "small": ModelConfig(layers=4, heads=8, width=256, positions="rotary", qk_norm=True),
}
