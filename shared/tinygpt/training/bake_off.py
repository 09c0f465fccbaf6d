"""Alternatives that people ask about, compared: the same rows, the same wall-clock, a line of one table each."""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from tinygpt.contracts.models import LAST_CHECKPOINT
from tinygpt.contracts.runs import Progress
from tinygpt.data.rows import stream_rows
from tinygpt.inference.decoder import decode
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.inference.torch_decoder import TorchDecoder
from tinygpt.model.checkpoint import Checkpoint, load_checkpoint
from tinygpt.training.callbacks import Callback
from tinygpt.training.config import PRESETS, TrainConfig
from tinygpt.training.precision import computes_in_bf16
from tinygpt.training.run import token_store_for, train

_EVALUATIONS = 12
_PROMPTS_DECODED = 16
_MAX_NEW_TOKENS = 128
_SHARES = (0.25, 0.5, 1.0)
"""Of a run's seconds, at which the table has its loss."""


@dataclass(frozen=True)
class Point:
    """An evaluation on a run's way. The loss is in nats per character of code."""

    seconds: float
    step: int
    validation_loss: float


@dataclass(frozen=True)
class Measured:
    """One run of one alternative. The losses are in nats per character of code, whatever was learned from."""

    name: str
    seed: int
    validation_loss: float
    """At the end, which is not always the best."""
    parameters: int
    steps: int
    seconds: float
    tokens_per_second: float
    """Greedy, one stream, by PyTorch, which decodes every architecture; prompts are read in that time too."""
    characters_per_second: float
    curve: list[Point]

    def loss_at(self, seconds: float) -> float:
        """Between two evaluations a straight line; not a number before the first."""
        return float(
            np.interp(
                seconds, [at.seconds for at in self.curve], [at.validation_loss for at in self.curve], left=np.nan
            )
        )


Alternatives = dict[str, TrainConfig]
"""What is compared, by name; the first is what the others differ from."""


def architectures() -> Alternatives:
    """The preset `quick-start`, then what differs from it in one thing that people ask about, and the preset
    `classic`."""
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
    """The preset `quick-start`, then the same with each departure from the tutorial's way undone, one at a time, and
    with other rates and sizes of a step.

    What is compared is what each costs and gains here: without rotary positions, QK norm or convolutions a step has
    fewer compiled kernels as well (`model/ops/`), and with dropout one thread for all of its rows. Where the processor
    has no bf16, `fp32` is the preset once more: what differs then is chance."""
    base = PRESETS["quick-start"]
    base = replace(base, batch_size=batch_size or base.batch_size)

    def rates(scale: float) -> TrainConfig:
        return replace(
            base,
            learning_rate=scale * base.learning_rate,
            muon_learning_rate=scale * base.muon_learning_rate,
            table_learning_rate=scale * base.table_learning_rate,
        )

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
        "attention dropout 0.1": _with_model(base, attention_dropout=0.1),
        "no weight decay": replace(base, weight_decay=0.0, muon_weight_decay=0.0),
        "AdamW alone, 1e-2": replace(base, optimizer="adamw"),
        "AdamW alone, 3e-3": replace(base, optimizer="adamw", learning_rate=3e-3),
        "fp32": replace(base, precision="fp32"),
        "decay from the start": replace(base, decay_from=0.0),
        "no decay": replace(base, final_learning_rate_share=1.0),
        "rates halved": rates(0.5),
        "rates doubled": rates(2.0),
        "half the rows a step": replace(base, batch_size=base.batch_size // 2),
        "twice the rows a step": replace(base, batch_size=2 * base.batch_size),
    }


def with_budget(alternatives: Alternatives, seconds: float, seed: int) -> Alternatives:
    """The same for `seconds` each. None stops early, so that all have the same time."""
    budget: dict[str, Any] = {"max_steps": None, "max_seconds": seconds}
    budget |= {"evaluations": _EVALUATIONS, "patience": _EVALUATIONS}
    return {name: replace(config, seed=seed, **budget) for name, config in alternatives.items()}


def _with_model(config: TrainConfig, **changes: Any) -> TrainConfig:
    return replace(config, model=replace(config.model, **changes))


class _Witness(Callback):
    def __init__(self, on_progress: Callable[[float], object], poll: Callable[[], object]) -> None:
        self.curve: list[Point] = []
        self.last: Progress | None = None
        self._on_progress = on_progress
        self._poll = poll

    def poll(self) -> bool:
        self._poll()
        return False

    def on_step(self, progress: Progress) -> None:
        self._on_progress(progress.elapsed_seconds)

    def on_evaluation(self, progress: Progress) -> None:
        assert progress.validation_loss is not None
        self.curve.append(Point(progress.elapsed_seconds, progress.step, progress.validation_loss))

    def on_end(self, progress: Progress, _reason: object) -> None:
        self.last = progress


def measure(
    name: str,
    config: TrainConfig,
    rows: Path,
    folder: Path,
    on_progress: Callable[[float], object] = lambda _: None,
    poll: Callable[[], object] = lambda: None,
) -> Measured:
    """Train one alternative on `rows`, then let it answer prompts that it never saw.

    The tokens stay in `folder`, for the next run on the same; making them is no part of the run's time. Calls
    `on_progress` with the seconds trained, and `poll` now and then: what it raises ends it all. Raises what `train` and
    `token_store_for` do.
    """
    store = token_store_for(config, rows, folder / "tokens", poll=poll)
    witness = _Witness(on_progress, poll)
    with tempfile.TemporaryDirectory(dir=folder, prefix="run-") as run:
        train(config, store, [witness], folder=Path(run))
        checkpoint = load_checkpoint(Path(run) / LAST_CHECKPOINT)
    room, encode = config.model.context_length, store.tokenizer.encode_prompt
    fitting = (row.prompt for row in stream_rows(store.held_out_rows) if len(encode(row.prompt)) < room)
    prompts = list(islice(fitting, _PROMPTS_DECODED))
    tokens_per_second, characters_per_second = _decoding_speed(checkpoint, prompts, poll)
    assert witness.last is not None
    return Measured(
        name=name,
        seed=config.seed,
        validation_loss=witness.curve[-1].validation_loss,
        parameters=checkpoint.model.parameter_count,
        steps=witness.last.step,
        seconds=witness.last.elapsed_seconds,
        tokens_per_second=tokens_per_second,
        characters_per_second=characters_per_second,
        curve=witness.curve,
    )


def _decoding_speed(checkpoint: Checkpoint, prompts: Sequence[str], poll: Callable[[], object]) -> tuple[float, float]:
    """Tokens (`<EOS>` too) and characters of code a second, after one prompt to warm up."""
    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    decoder = TorchDecoder(model)
    tokens = characters = 0
    seconds = 0.0
    for i, prompt in enumerate([prompts[0], *prompts]):
        poll()
        ids = tokenizer.encode_prompt(prompt)
        started = time.perf_counter()
        decoded = decode(decoder, ids, SamplingParameters(), max_new_tokens=_MAX_NEW_TOKENS)
        if i > 0:
            seconds += time.perf_counter() - started
            tokens += len(decoded.ids) + (decoded.finish_reason == "eos")
            characters += len(tokenizer.decode(decoded.ids))
    return round(tokens / seconds, 1), round(characters / seconds, 1)


def table_columns(seconds: float) -> tuple[str, ...]:
    """Of `table_cells`: the columns named by seconds have the validation loss at that time."""
    return ("alternative", *(f"{share * seconds:g} s" for share in _SHARES), "parameters", "steps", "chars/s")


def table_cells(measured: Sequence[Measured], seconds: float) -> list[tuple[str, ...]]:
    """A line for every alternative, in order: medians over its seeds, of the last loss the range too."""
    lines: list[tuple[str, ...]] = []
    for name in dict.fromkeys(one.name for one in measured):
        runs = [one for one in measured if one.name == name]
        losses = [f"{median(run.loss_at(share * seconds) for run in runs):.3f}" for share in _SHARES[:-1]]
        ends = [run.validation_loss for run in runs]
        spread = f" ({min(ends):.3f} to {max(ends):.3f})" if len(runs) > 1 else ""
        lines.append(
            (
                name,
                *losses,
                f"{median(ends):.3f}{spread}",
                f"{runs[0].parameters / 1e6:.2f} M",
                f"{median(run.steps for run in runs):,.0f}",
                f"{median(run.characters_per_second for run in runs):,.0f}",
            )
        )
    return lines


def settings(command: str, rows: Path, seconds: float, seeds: int, alternatives: Alternatives) -> dict[str, Any]:
    """What a reader must know to run it again."""
    return {
        "command": command,
        "data": rows.name,
        "seconds": seconds,
        "seeds": seeds,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "batch_size": next(iter(alternatives.values())).batch_size,
        "bf16": computes_in_bf16(torch.device("cpu")),
        "torch": torch.__version__,
    }


def as_report(settings: dict[str, Any], measured: Sequence[Measured]) -> dict[str, Any]:
    """The whole comparison as plain values, the curves included."""
    return {"settings": settings, "measured": [asdict(one) for one in measured]}


def as_markdown(title: str, settings: dict[str, Any], measured: Sequence[Measured]) -> str:
    """The table, and how it was made."""
    columns = table_columns(settings["seconds"])
    processor = f"{settings['cores']} cores {'with' if settings['bf16'] else 'without'} bf16"
    lines = [
        f"# {title}",
        "",
        f"`{settings['command']}`: {settings['seconds']:g} s of training each on `{settings['data']}`, "
        f"seeds: {settings['seeds']}, {settings['batch_size']} rows a step where nothing else is said, "
        f"{settings['threads']} thread(s) on {processor}, torch {settings['torch']}. "
        "Validation loss in nats per character of code after so many seconds, medians over the seeds; characters a "
        "second of greedy decoding by PyTorch, one stream, prompts included. All losses on the way are in the JSON.",
        "",
        "| " + " | ".join(columns) + " |",
        "|---|" + "---:|" * (len(columns) - 1),
        *("| " + " | ".join(cells) + " |" for cells in table_cells(measured, settings["seconds"])),
    ]
    return "\n".join(lines) + "\n"
