"""One alternative trained and timed, and the table of all of them."""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.alternatives import Alternatives
from tinygpt.contracts.models import LAST_CHECKPOINT
from tinygpt.contracts.runs import Progress
from tinygpt.data.rows import stream_rows
from tinygpt.inference.decoder import decode
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.inference.torch_decoder import TorchDecoder
from tinygpt.model.checkpoint import Checkpoint, load_checkpoint
from tinygpt.training.callbacks import Callback
from tinygpt.training.config import TrainConfig
from tinygpt.training.precision import computes_in_bf16
from tinygpt.training.run import token_store_for, train

_PROMPTS_DECODED = 16
_MAX_NEW_TOKENS = 128
_SHARES = (0.25, 0.5, 1.0)
"""Of a run's seconds: the table has the losses at these."""


@dataclass(frozen=True)
class Measured:
    """One run of one alternative. Losses are in nats per character of code, whatever the tokenizer and the loss."""

    name: str
    seed: int
    validation_loss: float
    """At the end, which is not always the lowest."""
    parameters: int
    steps: int
    seconds: float
    tokens_per_second: float
    """Greedy, one stream, prompts included, by the PyTorch decoder, which decodes every architecture."""
    characters_per_second: float
    curve: list[tuple[float, int, float]]
    """Seconds, step and validation loss of every evaluation."""

    def loss_at(self, seconds: float) -> float:
        """Interpolated between two evaluations. NaN before the first."""
        times, _, losses = zip(*self.curve, strict=True)
        return float(np.interp(seconds, times, losses, left=np.nan))


class _Recorder(Callback):
    """Keeps the evaluations of a run and its last progress."""

    def __init__(self, on_progress: Callable[[float], object], poll: Callable[[], object]) -> None:
        self.curve: list[tuple[float, int, float]] = []
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
        self.curve.append((progress.elapsed_seconds, progress.step, progress.validation_loss))

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
    """Train one alternative on `rows`, then time its greedy decoding of held-out prompts.

    Preparing the tokens is not part of the run's time; they stay in `folder` for the next run. `on_progress` gets the
    seconds trained. `poll` is called now and then, and may raise to end the measurement. Raises what `train` and
    `token_store_for` do.
    """
    store = token_store_for(config, rows, folder / "tokens", poll=poll)
    recorder = _Recorder(on_progress, poll)
    with tempfile.TemporaryDirectory(dir=folder, prefix="run-") as run:
        train(config, store, [recorder], folder=Path(run))
        checkpoint = load_checkpoint(Path(run) / LAST_CHECKPOINT)
    context_length, encode = config.model.context_length, store.tokenizer.encode_prompt
    fitting = (row.prompt for row in stream_rows(store.held_out_rows) if len(encode(row.prompt)) < context_length)
    prompts = list(islice(fitting, _PROMPTS_DECODED))
    tokens_per_second, characters_per_second = _decoding_speed(checkpoint, prompts, poll)
    assert recorder.last is not None
    return Measured(
        name=name,
        seed=config.seed,
        validation_loss=recorder.curve[-1][2],
        parameters=checkpoint.model.parameter_count,
        steps=recorder.last.step,
        seconds=recorder.last.elapsed_seconds,
        tokens_per_second=tokens_per_second,
        characters_per_second=characters_per_second,
        curve=recorder.curve,
    )


def _decoding_speed(checkpoint: Checkpoint, prompts: Sequence[str], poll: Callable[[], object]) -> tuple[float, float]:
    """Tokens (`<EOS>` too) and characters of code a second. The first prompt is decoded once more, to warm up."""
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


# -- the report


def table_columns(seconds: float) -> tuple[str, ...]:
    """The head of `table_cells`. A column named by seconds has the validation loss at that time."""
    return ("alternative", *(f"{share * seconds:g} s" for share in _SHARES), "parameters", "steps", "chars/s")


def table_cells(measured: Sequence[Measured], seconds: float) -> list[tuple[str, ...]]:
    """A line per alternative: medians over its seeds, and the range of the last loss."""
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
    """What one must know to repeat the comparison."""
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
        f"seeds: {settings['seeds']}, {settings['batch_size']} rows a step unless the line says otherwise, "
        f"{settings['threads']} thread(s) on {processor}, torch {settings['torch']}. Columns named by seconds: "
        "validation loss in nats per character of code at that time. chars/s: greedy decoding by PyTorch, one stream, "
        "prompts included. Figures are medians over the seeds; the JSON has every evaluation.",
        "",
        "| " + " | ".join(columns) + " |",
        "|---|" + "---:|" * (len(columns) - 1),
        *("| " + " | ".join(cells) + " |" for cells in table_cells(measured, settings["seconds"])),
    ]
    return "\n".join(lines) + "\n"
