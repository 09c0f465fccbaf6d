"""`tinygpt eval`: answer a file's prompts, run every row's check in a sandbox, and report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from tinygpt.commands.failures import EXIT_INTERRUPTED, one_sentence
from tinygpt.contracts.errors import InvalidCheckpoint, InvalidDataset
from tinygpt.contracts.models import BEST_CHECKPOINT, TRAINING_ROWS, WeightFormat
from tinygpt.data.bundled import held_out_rows
from tinygpt.data.rows import Row, evenly_spaced, read_rows
from tinygpt.durable import open_whole
from tinygpt.evaluation.sandbox import WHAT_THIS_IS_NOT

_SLOTS = 64
"""Prompts that are answered at once."""


def evaluate(
    model: Annotated[Path, typer.Option(help="A .pt file, or a folder with best.pt.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(help="Rows with a `check`. The bundled held-out rows if left out.", show_default=False),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only the rows of this split, such as held_out_slots.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many rows, evenly chosen.")] = None,
    samples: Annotated[int, typer.Option(min=1, max=1000, help="Answers to each row; needs a temperature.")] = 1,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 takes the likeliest token every time.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="Same seed, same answers.")] = 0,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Threads that answer, processes that judge.")] = 2,
    weights: Annotated[WeightFormat, typer.Option(help="How the compiled decoder holds a transformer's.")] = "float32",
    json: Annotated[Path | None, typer.Option("--json", help="Write the whole report here.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with plots here.")] = None,
) -> None:
    """Answer every prompt, run each row's check on the answer, and report. Exits 0 when it ran, however it scored."""
    if samples > 1 and temperature == 0:
        raise typer.BadParameter("greedy answers are all the same: give --temperature too", param_hint="--samples")
    console = Console(highlight=False)
    try:
        with one_sentence():
            checkpoint_path = _checkpoint_path(model)
            chosen = _chosen(read_rows(data or held_out_rows()), split, limit)
            for path in filter(None, (json, html)):
                _require_a_file(path)
            from tinygpt.evaluation.evaluate import EvaluationProgress
            from tinygpt.evaluation.evaluate import evaluate as evaluate_model
            from tinygpt.evaluation.page import render_page
            from tinygpt.evaluation.table import render_tables
            from tinygpt.inference.generator import CodeGenerator
            from tinygpt.inference.retrieval import RetrievalIndex
            from tinygpt.model.checkpoint import load_checkpoint

            checkpoint = load_checkpoint(checkpoint_path)
            known = checkpoint_path.parent / TRAINING_ROWS
            training_rows = read_rows(known) if known.exists() else []
            if not training_rows:
                typer.echo(
                    f"tinygpt: {known} does not exist, so there is no retrieval and no nearest prompt.", err=True
                )
            index = RetrievalIndex(training_rows) if training_rows else None
            columns = (
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
            )  # fmt: skip
            with ProgressBar(*columns, console=console, disable=not console.is_terminal) as bar:
                task = bar.add_task("starting", total=None, left="")

                def show(progress: EvaluationProgress) -> None:
                    left = "" if progress.seconds_left is None else f"{progress.seconds_left:.0f} s left"
                    bar.update(
                        task, description=progress.phase, completed=progress.done, total=progress.total, left=left
                    )

                generator = CodeGenerator(
                    checkpoint.model,
                    checkpoint.tokenizer,
                    index,
                    model_id=str(checkpoint_path),
                    slots=_SLOTS,
                    threads=workers,
                    weights=weights,
                )
                report = evaluate_model(
                    generator,
                    chosen,
                    samples=samples,
                    temperature=temperature,
                    seed=seed,
                    workers=workers,
                    on_progress=show,
                )
            for table in render_tables(report):
                console.print(table)
            if json:
                _write(json, report.model_dump_json(indent=1) + "\n")
            if html:
                _write(html, render_page(report))
    except KeyboardInterrupt:
        typer.echo("tinygpt: stopped; nothing was written.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _checkpoint_path(model: Path) -> Path:
    path = model / BEST_CHECKPOINT if model.is_dir() else model
    if not path.exists():
        raise InvalidCheckpoint(f"{path} does not exist: `tinygpt train --out {model}` makes it.")
    return path


def _chosen(rows: Sequence[Row], split: str | None, limit: int | None) -> Sequence[Row]:
    """The rows to judge. Raises `InvalidDataset` for a split that no row is of."""
    if split is not None:
        names = sorted({str(row.extra["split"]) for row in rows if row.extra.get("split")})
        rows = [row for row in rows if row.extra.get("split") == split]
        if not rows:
            known = f"there are {', '.join(names)}" if names else "its rows name no split at all"
            raise InvalidDataset(f"No row is of the split {split!r}: {known}.")
    return rows if limit is None else evenly_spaced(rows, limit)


def _require_a_file(path: Path) -> None:
    """Raise `OSError` before the work is done, and not after it."""
    if path.is_dir():
        raise IsADirectoryError(21, "is a folder: name a file in it", str(path))


def _write(path: Path, text: str) -> None:
    with open_whole(path) as file:
        file.write(text.encode(errors="replace"))
    typer.echo(f"Wrote {path}.")


evaluate.__doc__ = f"{evaluate.__doc__}\n\n{WHAT_THIS_IS_NOT}"
