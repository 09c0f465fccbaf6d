"""The settings of a training run, and the presets."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from tinygpt.contracts.runs import TrainRequest
from tinygpt.data.tokenizer import TokenizerKind
from tinygpt.model.config import SIZES, ModelConfig
from tinygpt.model.config import without_removed_options as without_removed_model_options

Precision = Literal["auto", "fp32", "bf16"]
OptimizerName = Literal["muon", "adamw"]


@dataclass(frozen=True)
class TrainConfig:
    """One run's settings. `model.vocab_size` is set from the data.

    A value that nobody varies is a constant in the file that uses it: the warm-up in `schedule.py`, momentum, betas and
    clipping in `optimizer.py`, the weight of later tokens in `loss.py`.
    """

    model: ModelConfig = field(default_factory=lambda: SIZES["tiny"])
    masked: bool = True
    """Learn from the code alone. False: learn the prompt too, which takes its share of a small network."""
    tokenizer: TokenizerKind = "characters"
    """`byte_pair`: byte-pair encoding (Sennrich et al., 2016) of bytes, as in GPT-2 (Radford et al., 2019), trained on
    the training rows; at most 1,024 tokens."""
    batch_size: int = 64
    """Rows in an optimiser step, on average: all steps have about the same number of tokens (`batches.py`)."""
    optimizer: OptimizerName = "muon"
    """`muon`: Muon (Jordan et al., 2024) for the matrices of the blocks, AdamW for the rest. `adamw`: AdamW for both.
    A table of n-grams has row-wise Adagrad in either case."""
    learning_rate: float = 1e-2
    """AdamW's peak, after the warm-up."""
    muon_learning_rate: float = 0.014
    """Muon's peak."""
    table_learning_rate: float = 0.02
    """Peak of the row-wise Adagrad that learns the table of n-grams (Duchi et al., 2011; `rowwise_adagrad.py`)."""
    weight_decay: float = 0.1
    """AdamW's, on matrices only (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019)."""
    muon_weight_decay: float = 0.01
    decay_from: float = 0.5
    """Share of the budget after which the learning rates fall linearly. Until then they stay at their peaks
    ("warm-up, stable, decay": Hägele et al., 2024)."""
    final_learning_rate_share: float = 0.0
    """Learning rates at the end of the budget, as a share of their peaks."""
    ngram_dropout: float = 0.8
    """Largest share of positions whose n-grams are dropped in a step, from the third epoch on (word dropout: Iyyer et
    al., 2015; `ngram_dropout` in `batches.py`)."""
    max_steps: int | None = None
    max_seconds: float | None = 74.0
    """Wall-clock budget of the run, evaluations included. The learning rates fall to the end of it."""
    evaluations: int = 4
    """Evaluations in a run, evenly spread over its budget."""
    patience: int = 4
    """Stop after this many evaluations in a row without a lower validation loss. Counted from `decay_from` on, because
    the loss falls most while the learning rates do. A quick start has too few evaluations to stop early."""
    seed: int = 0
    precision: Precision = "auto"
    """`auto`: `bf16` (Kalamkar et al., 2019) if the processor computes in it, else `fp32`. The optimisers keep fp32
    weights in either case (Micikevicius et al., 2018; `precision.py`)."""
    threads: int | None = None
    """CPU threads. None: torch's choice."""

    def __post_init__(self) -> None:
        for name, kind in (("optimizer", OptimizerName), ("precision", Precision), ("tokenizer", TokenizerKind)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be {' or '.join(get_args(kind))}")
        if self.max_steps is None and self.max_seconds is None:
            raise ValueError("give max_steps or max_seconds: a run needs an end")
        if not 0 <= self.decay_from < 1:
            raise ValueError("decay_from must be at least 0 and below 1")
        if not 0 <= self.ngram_dropout < 1:
            raise ValueError("ngram_dropout must be at least 0 and below 1")
        if self.batch_size < 1 or self.evaluations < 1 or self.patience < 1 or self.learning_rate <= 0:
            raise ValueError("batch_size, evaluations and patience must be at least 1, learning_rate above 0")


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
"""`quick-start` takes less than two minutes on two cores, `default` less than ten. `classic` is the tutorial's way
(nanoGPT: Karpathy, 2022), with the time of `default`, to compare the others with."""


def config_from_request(request: TrainRequest, *, threads: int | None = None) -> TrainConfig:
    """The preset that a request names, changed by what else the request sets."""
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


_REMOVED_OPTIONS: dict[str, object] = {
    "micro_batches": 1,
    "muon_momentum": 0.9,
    "warmup_steps": 50,
    "future_weight": 0.3,
    "betas": (0.9, 0.95),
    "gradient_clip": 1.0,
    "held_out_share": 0.1,
}
"""Options that earlier versions had, each with the value that every run has now."""


def without_removed_options(saved: dict[str, Any]) -> dict[str, Any]:
    """The settings in a checkpoint, which may be an earlier version's, as this version would have saved them.

    Raises `ValueError` if a removed option had another value than the one that every run has now.
    """
    for name, value in _REMOVED_OPTIONS.items():
        if name in saved and saved[name] != value:
            raise ValueError(f"{name}={saved[name]!r}, and this version has only {name}={value!r}")
    kept = {name: value for name, value in saved.items() if name not in _REMOVED_OPTIONS}
    return kept | {"model": without_removed_model_options(kept["model"])} if "model" in kept else kept
