"""What `tinygpt bench` compares: configurations that differ from the preset `quick-start` in one thing each."""

from dataclasses import replace
from typing import Any

from tinygpt.training.config import PRESETS, TrainConfig

EVALUATIONS = 12
"""In each run: the table takes losses on the way from between two of them."""

Alternatives = dict[str, TrainConfig]
"""Configurations by name. The first is the one that the others differ from."""


def architectures() -> Alternatives:
    """`quick-start`, other networks, tokenizers and losses in its place, and the preset `classic`."""
    base = PRESETS["quick-start"]
    return {
        "transformer": base,
        "transformer, classic": PRESETS["classic"],
        "lstm": _with_model(base, architecture="lstm"),
        "mamba": _with_model(base, architecture="mamba"),
        "transformer, byte pairs": replace(base, tokenizer="byte_pair"),
        "transformer, unmasked loss": replace(base, masked=False),
    }


def options(batch_size: int | None = None) -> Alternatives:
    """`quick-start`, and the same with each departure from the tutorial undone, other rates and other batch sizes.

    An option's cost in time counts as well as its gain: without rotary positions, QK norm or convolutions fewer
    compiled kernels can be used (`model/ops/`), and dropout allows one thread only. If the processor has no bf16,
    `fp32` is the preset once more, and what differs is chance.
    """
    base = PRESETS["quick-start"]
    base = replace(base, batch_size=batch_size or base.batch_size)
    return {
        "quick-start": base,
        "learned positions": _with_model(base, positions="learned"),
        "no QK norm": _with_model(base, qk_norm=False),
        "no convolutions": _with_model(base, convolution=0),
        "an MLP in every layer": _with_model(base, mlps="every"),
        "no n-grams": _with_model(base, ngrams=()),
        "n-grams never dropped": replace(base, ngram_dropout=0.0),
        "no later tokens": _with_model(base, future_tokens=0),
        "four heads": _with_model(base, heads=4),
        "a head of its own": _with_model(base, tie_weights=False),
        "dropout 0.1": _with_model(base, dropout=0.1),
        "no weight decay": replace(base, weight_decay=0.0, muon_weight_decay=0.0),
        "AdamW alone, 1e-2": replace(base, optimizer="adamw"),
        "AdamW alone, 3e-3": replace(base, optimizer="adamw", learning_rate=3e-3),
        "fp32": replace(base, precision="fp32"),
        "decay from the start": replace(base, decay_from=0.0),
        "no decay": replace(base, final_learning_rate_share=1.0),
        "rates halved": _with_rates(base, 0.5),
        "rates doubled": _with_rates(base, 2.0),
        "half the rows a step": replace(base, batch_size=base.batch_size // 2),
        "twice the rows a step": replace(base, batch_size=2 * base.batch_size),
    }


def with_budget(alternatives: Alternatives, seconds: float, seed: int) -> Alternatives:
    """The same with `seconds` each. None stops early, so that all have the same time."""
    budget: dict[str, Any] = {"max_steps": None, "max_seconds": seconds}
    budget |= {"evaluations": EVALUATIONS, "patience": EVALUATIONS}
    return {name: replace(config, seed=seed, **budget) for name, config in alternatives.items()}


def _with_model(config: TrainConfig, **changes: Any) -> TrainConfig:
    return replace(config, model=replace(config.model, **changes))


def _with_rates(config: TrainConfig, scale: float) -> TrainConfig:
    return replace(
        config,
        learning_rate=scale * config.learning_rate,
        muon_learning_rate=scale * config.muon_learning_rate,
        table_learning_rate=scale * config.table_learning_rate,
    )
