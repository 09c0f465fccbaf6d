"""Every option of the network, and its sizes in the presets."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

Architecture = Literal["transformer", "lstm", "mamba"]


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
    positions: Literal["learned", "rotary"] = "learned"
    """`learned`: an embedding added to the token's (GPT-2). `rotary`: queries and keys rotated (Su et al., 2021)."""
    qk_norm: bool = False
    """Queries and keys normalised, by a layer norm of each head without weights, and scores scaled by a learned factor
    for each head (Henry et al., 2020)."""
    convolution: int = 0
    """Taps of the short causal convolutions on queries, keys and values and on the MLP's input (Fu et al., 2023;
    `convolution.py`)."""
    mlps: Literal["every", "last"] = "every"
    """Which blocks have an MLP: `every` one (Vaswani et al., 2017), or the `last` alone, after all attention (the order
    of sublayers: Press et al., 2020). Training computes the last MLP only at positions that have a label."""
    ngrams: tuple[int, ...] = ()
    """Sizes of the n-grams of tokens with an embedding of their own (Pagnoni et al., 2024; `ngrams.py`)."""
    ngram_rows: int = 98_304
    """Rows of the n-grams' table: how many n-grams have an embedding. In a run's settings: how many may have one."""
    future_tokens: int = 0
    """Tokens after the next one that a position also learns to predict, in training only (multi-token prediction:
    Gloeckle et al., 2024)."""
    tie_weights: bool = True
    """The output head shares the token embedding's weights (Press & Wolf, 2017)."""
    architecture: Architecture = "transformer"
    """What the blocks are: `transformer.py` (Vaswani et al., 2017), `lstm.py` (Hochreiter & Schmidhuber, 1997) or
    `mamba.py` (Gu & Dao, 2023). The recurrent two read in order, and need neither `positions`, `qk_norm` nor
    `convolution`."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "layers", "heads", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.convolution < 0:
            raise ValueError(f"convolution is {self.convolution}; it must be 0 (none) or more taps")
        if self.future_tokens < 0:
            raise ValueError(f"future_tokens is {self.future_tokens}; it must be 0 (none) or more")
        if self.ngrams and (min(self.ngrams) < 2 or self.ngram_rows < 1):
            raise ValueError("ngrams must be 2 or longer, and ngram_rows at least 1")
        object.__setattr__(self, "ngrams", tuple(self.ngrams))
        if self.architecture not in get_args(Architecture):
            raise ValueError(f"architecture is {self.architecture!r}; it must be transformer, lstm or mamba")
        if self.mlps not in ("every", "last"):
            raise ValueError(f"mlps is {self.mlps!r}; it must be every or last")
        if self.positions not in ("learned", "rotary"):
            raise ValueError(f"positions is {self.positions!r}; it must be learned or rotary")
        if self.positions == "rotary" and self.head_width % 2:
            raise ValueError(f"rotary positions need an even width of a head, not {self.head_width}")
        if not 0 <= self.dropout < 1:
            raise ValueError("dropout must be at least 0 and below 1")

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def mlp_width(self) -> int:
        return 4 * self.width

    @property
    def has_position_embedding(self) -> bool:
        """Recurrent blocks read in order and need no positions."""
        return self.architecture == "transformer" and self.positions == "learned"

    def has_mlp(self, layer: int) -> bool:
        """Whether the transformer's block in this layer, counted from 0, has an MLP."""
        return self.mlps == "every" or layer == self.layers - 1


_REMOVED_OPTIONS: dict[str, object] = {"attention_dropout": 0.0}
"""Options that earlier versions had, each with the value that every model has now."""


def without_removed_options(saved: dict[str, Any]) -> dict[str, Any]:
    """Hyperparameters in a checkpoint, which may be an earlier version's, as this version would have saved them.

    Raises `ValueError` if a removed option had another value than the one that every model has now.
    """
    for name, value in _REMOVED_OPTIONS.items():
        if name in saved and saved[name] != value:
            raise ValueError(f"{name}={saved[name]!r}, and this version has only {name}={value!r}")
    return {name: value for name, value in saved.items() if name not in _REMOVED_OPTIONS}


_MODERN: dict[str, Any] = {
    "dropout": 0.0,
    "positions": "rotary",
    "qk_norm": True,
    "convolution": 3,
    "mlps": "last",
    "ngrams": (2, 3, 4, 6, 9),
    "future_tokens": 2,
}
"""What was added to the tutorial's network because it won: `docs/experiments.md` has the gain of each."""

SizeName = Literal["tiny", "small"]
SIZES: dict[SizeName, ModelConfig] = {
    "tiny": ModelConfig(layers=2, heads=2, width=128, **_MODERN),
    "small": ModelConfig(layers=4, heads=4, width=256, **_MODERN),
}
"""`ModelConfig()` alone is the tutorial's network, of the size of `tiny`."""
