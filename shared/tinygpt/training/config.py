"""Every knob of training, and the presets."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from tinygpt.contracts.runs import TrainRequest
from tinygpt.data.tokenizer import TokenizerKind
from tinygpt.model.config import SIZES, ModelConfig

Precision = Literal["auto", "fp32", "bf16"]
OptimizerName = Literal["muon", "adamw"]


@dataclass(frozen=True)
class TrainConfig:
    """One run's hyperparameters. `model.vocab_size` is set from the data."""

    model: ModelConfig = field(default_factory=lambda: SIZES["tiny"])
    masked: bool = True
    """Learn from the code alone. Off, the prompt is learned as well, and takes its share of a small network."""
    tokenizer: TokenizerKind = "characters"
    """`byte_pair`: byte-pair encoding (Sennrich et al., 2016) on the level of bytes as in GPT-2 (Radford et al., 2019),
    trained on the training rows; at most 1,024 tokens."""
    batch_size: int = 64
    """Rows in an optimiser step, on average: steps have about as many tokens each (`batches.py`)."""
    micro_batches: int = 1
    """Parts that each of a step's groups of rows (`batches.py`), or a thread's share of one, is computed in, to save
    memory; the gradient is the same."""
    optimizer: OptimizerName = "muon"
    """`muon`: Muon (Jordan et al., 2024) for the matrices of the blocks, AdamW for the rest. `adamw`: AdamW for both.
    With either a table of n-grams has row-wise Adagrad."""
    learning_rate: float = 1e-2
    """AdamW's peak, after the warm-up."""
    muon_learning_rate: float = 0.014
    """Muon's peak."""
    muon_momentum: float = 0.9
    muon_weight_decay: float = 0.01
    table_learning_rate: float = 0.02
    """Peak of the row-wise Adagrad that learns the table of n-grams (Duchi et al., 2011; `rowwise_adagrad.py`)."""
    decay_from: float = 0.5
    """The share of the budget at which the learning rates begin to fall, linearly; until then they stay at their peaks
    ("warm-up, stable, decay": Hägele et al., 2024)."""
    final_learning_rate_share: float = 0.0
    """Where the linear decay ends, as a share of the peak."""
    warmup_steps: int = 50
    weight_decay: float = 0.1
    """Of AdamW, on matrices only; those that Muon updates have `muon_weight_decay` (Loshchilov & Hutter, "Decoupled
    Weight Decay Regularization", 2019)."""
    future_weight: float = 0.3
    """What the loss of each of the model's `future_tokens` counts, beside 1 for the next token's."""
    ngram_dropout: float = 0.8
    """Largest share of positions whose n-grams are dropped in a step, from the third pass over the rows on (word
    dropout: Iyyer et al., 2015; `ngram_dropout` in `batches.py`)."""
    betas: tuple[float, float] = (0.9, 0.95)
    gradient_clip: float = 1.0
    """Largest norm of the gradient of what AdamW learns, taken together."""
    max_steps: int | None = None
    max_seconds: float | None = 74.0
    """Wall-clock budget of the run, evaluation included; the schedule ends with it."""
    evaluations: int = 4
    """Evaluations in a run, evenly spread over its budget."""
    patience: int = 4
    """Stop after this many evaluations in a row without a lower validation loss, from `decay_from` on: it falls most as
    the learning rates do. A quick start has too few for that."""
    held_out_share: float = 0.1
    seed: int = 0
    precision: Precision = "auto"
    """`auto`: `bf16` (Kalamkar et al., 2019) where the processor computes in it, else `fp32`. The optimiser's weights
    are fp32 in any case (Micikevicius et al., 2018); see `precision.py`."""
    threads: int | None = None
    """CPU threads; None leaves torch's choice."""

    def __post_init__(self) -> None:
        for name, kind in (("optimizer", OptimizerName), ("precision", Precision), ("tokenizer", TokenizerKind)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be {' or '.join(get_args(kind))}")
        if self.max_steps is None and self.max_seconds is None:
            raise ValueError("give max_steps or max_seconds: a run needs an end")
        if not 1 <= self.micro_batches <= self.batch_size:
            raise ValueError(f"micro_batches must be between 1 and batch_size ({self.batch_size})")
        if self.held_out_share <= 0 or self.held_out_share >= 1:
            raise ValueError("held_out_share must be between 0 and 1")
        if self.future_weight < 0:
            raise ValueError("future_weight must be at least 0")
        if not 0 <= self.decay_from < 1:
            raise ValueError("decay_from must be at least 0 and below 1")
        if not 0 <= self.ngram_dropout < 1:
            raise ValueError("ngram_dropout must be at least 0 and below 1")
        if self.evaluations < 1 or self.patience < 1 or self.learning_rate <= 0:
            raise ValueError("evaluations and patience must be at least 1, learning_rate above 0")


PRESETS: dict[str, TrainConfig] = {
    "quick-start": TrainConfig(),
    "default": TrainConfig(
        model=replace(SIZES["tiny"], width=192, heads=3, context_length=512), max_seconds=590.0, evaluations=12
    ),
    "classic": TrainConfig(
        model=ModelConfig(),
        batch_size=32,
        optimizer="adamw",
        learning_rate=1e-3,
        decay_from=0.0,
        precision="fp32",
        max_seconds=590.0,
        evaluations=20,
    ),
}
"""`quick-start` takes less than two minutes, `default` less than ten, on two cores. `classic` is what a
tutorial trains (nanoGPT: Karpathy, 2022), with the time of `default`: what the others are compared with."""


def config_from_request(request: TrainRequest, *, threads: int | None = None) -> TrainConfig:
    """The preset that a request names, with what it sets itself in place of the preset's."""
    config = PRESETS[request.preset]
    model = config.model
    if request.model is not None:
        size = SIZES[request.model]
        model = replace(model, layers=size.layers, heads=size.heads, width=size.width)
    model = replace(model, **_given(request, "context_length", "dropout"))
    budget: dict[str, Any] = {}
    if request.max_steps is not None:
        budget = {"max_steps": request.max_steps, "max_seconds": request.max_seconds}
    elif request.max_seconds is not None:
        budget = {"max_seconds": request.max_seconds}
    own = _given(request, "batch_size")
    if request.learning_rate is not None:
        scale = request.learning_rate / config.learning_rate
        own |= {
            "learning_rate": request.learning_rate,
            "muon_learning_rate": scale * config.muon_learning_rate,
            "table_learning_rate": scale * config.table_learning_rate,
        }
    return replace(config, model=model, seed=request.seed, threads=threads, **budget, **own)


def _given(request: TrainRequest, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(request, name)) is not None}
