"""Alternatives that people ask about, compared: the same rows, the same wall-clock, a line of one table each."""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from tinygpt.contracts.models import LAST_CHECKPOINT
from tinygpt.contracts.runs import Progress
from tinygpt.data.rows import stream_rows
from tinygpt.inference.decoder import decode
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.inference.torch_decoder import TorchDecoder
from tinygpt.model.checkpoint import Checkpoint, load_checkpoint
from tinygpt.model.config import Architecture
from tinygpt.training.callbacks import Callback
from tinygpt.training.config import PRESETS, TrainConfig
from tinygpt.training.loop import store_for, train

_EVALUATIONS = 12
_PROMPTS_DECODED = 16
_MAX_NEW_TOKENS = 128
COLUMNS = ("alternative", "loss", "parameters", "steps", "tokens/s", "characters/s")
"""The loss is the validation loss; the last two are of decoding."""


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


def alternatives(seconds: float, seed: int = 0) -> dict[str, TrainConfig]:
    """What is compared, by name: the preset's transformer, then what differs from it in one thing, and the preset
    `classic`. None stops early, so that each has the same time."""
    base = PRESETS["quick-start"]
    configs = {
        "transformer": base,
        "transformer, classic": PRESETS["classic"],
        "lstm": _with_architecture(base, "lstm"),
        "mamba": _with_architecture(base, "mamba"),
        "transformer, byte pairs": replace(base, tokenizer="byte_pair"),
        "transformer, unmasked loss": replace(base, masked=False),
    }
    budget: dict[str, Any] = {"max_steps": None, "max_seconds": seconds}
    budget |= {"evaluations": _EVALUATIONS, "patience": _EVALUATIONS}
    return {name: replace(config, seed=seed, **budget) for name, config in configs.items()}


def _with_architecture(config: TrainConfig, architecture: Architecture) -> TrainConfig:
    return replace(config, model=replace(config.model, architecture=architecture))


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
    `store_for` do.
    """
    store = store_for(config, rows, folder / "tokens", poll=poll)
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
            tokens += len(decoded.ids) + (decoded.ended == "eos")
            characters += len(tokenizer.decode(decoded.ids))
    return round(tokens / seconds, 1), round(characters / seconds, 1)


def table_cells(measured: Sequence[Measured]) -> list[tuple[str, ...]]:
    """A line of `COLUMNS` for every alternative, in order: means over its seeds, of the loss the range too."""
    lines: list[tuple[str, ...]] = []
    for name in dict.fromkeys(one.name for one in measured):
        runs = [one for one in measured if one.name == name]
        losses = [one.validation_loss for one in runs]
        spread = f" ({min(losses):.3f} to {max(losses):.3f})" if len(runs) > 1 else ""
        lines.append(
            (
                name,
                f"{mean(losses):.3f}{spread}",
                f"{runs[0].parameters:,}",
                f"{mean(one.steps for one in runs):,.0f}",
                f"{mean(one.tokens_per_second for one in runs):,.0f}",
                f"{mean(one.characters_per_second for one in runs):,.0f}",
            )
        )
    return lines


def settings(rows: Path, seconds: float, seeds: int) -> dict[str, Any]:
    """What a reader must know to run it again."""
    return {
        "data": rows.name,
        "seconds": seconds,
        "seeds": seeds,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
    }


def as_report(settings: dict[str, Any], measured: Sequence[Measured]) -> dict[str, Any]:
    """The whole comparison as plain values, the curves included."""
    return {"settings": settings, "measured": [asdict(one) for one in measured]}


def as_markdown(settings: dict[str, Any], measured: Sequence[Measured]) -> str:
    """The table, and how it was made."""
    lines = [
        "# Architectures, tokenizers and losses compared",
        "",
        f"`tinygpt bench architectures`: {settings['seconds']:g} s of training each on `{settings['data']}`, "
        f"{settings['seeds']} seed(s), {settings['threads']} thread(s) on {settings['cores']} cores, "
        f"torch {settings['torch']}. Validation loss in nats per character of code, at the end; tokens and characters "
        "a second of greedy decoding, one stream. The losses on the way are in `architectures.json`.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---|" + "---:|" * (len(COLUMNS) - 1),
        *("| " + " | ".join(cells) + " |" for cells in table_cells(measured)),
    ]
    return "\n".join(lines) + "\n"
