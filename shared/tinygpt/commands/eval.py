"""`tinygpt eval`: answer the prompts of a file, run the check of every row in a sandbox, and report."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from tinygpt.evaluation.progress import EvaluationProgress
    from tinygpt.inference.generator import CodeGenerator

_SLOTS = 64
"""Prompts answered at once."""


def evaluate(
    model: Annotated[Path, typer.Option(help="A .pt file, or a folder with best.pt.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(help="Rows with a `check`. Default: the bundled held-out rows.", show_default=False),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only the rows of this split, such as held_out_slots.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many rows, evenly spaced.")] = None,
    samples: Annotated[
        int, typer.Option(min=1, max=1000, help="Answers per row. More than one needs a temperature.")
    ] = 1,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 takes the most likely token every time.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="The same seed gives the same answers.")] = 0,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Threads that answer, processes that judge.")] = 2,
    weights: Annotated[WeightFormat, typer.Option(help="Format of the weights in the compiled decoder.")] = "float32",
    json: Annotated[Path | None, typer.Option("--json", help="Write the whole report here.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with plots here.")] = None,
) -> None:
    """Answer every prompt, run the row's check on the answer, and report. The score does not change the exit code."""
    if samples > 1 and temperature == 0:
        raise typer.BadParameter("greedy answers are all the same: give --temperature too", param_hint="--samples")
    console = Console(highlight=False)
    try:
        with one_sentence():
            checkpoint_path = _checkpoint_path(model)
            chosen = _chosen(read_rows(data or held_out_rows()), split, limit)
            for path in filter(None, (json, html)):
                _require_a_file(path)
            from tinygpt.evaluation.evaluate import evaluate as evaluate_model
            from tinygpt.evaluation.html_page import render_page
            from tinygpt.evaluation.terminal_tables import render_tables

            generator = _generator(checkpoint_path, workers, weights)
            with _progress_bar(console) as show:
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


def _generator(checkpoint_path: Path, workers: int, weights: WeightFormat) -> "CodeGenerator":
    """The model with its training rows, if they are beside it."""
    from tinygpt.inference.generator import CodeGenerator
    from tinygpt.inference.retrieval import RetrievalIndex
    from tinygpt.model.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(checkpoint_path)
    path = checkpoint_path.parent / TRAINING_ROWS
    training_rows = read_rows(path) if path.exists() else []
    if not training_rows:
        typer.echo(f"tinygpt: {path} does not exist, so there is no retrieval and no nearest prompt.", err=True)
    return CodeGenerator(
        checkpoint.model,
        checkpoint.tokenizer,
        RetrievalIndex(training_rows) if training_rows else None,
        model_id=str(checkpoint_path),
        slots=_SLOTS,
        threads=workers,
        weights=weights,
    )


@contextlib.contextmanager
def _progress_bar(console: Console) -> Iterator[Callable[["EvaluationProgress"], None]]:
    """A progress bar on a terminal, and nothing elsewhere. Yields the function that updates it."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    with ProgressBar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None, left="")

        def show(progress: "EvaluationProgress") -> None:
            left = "" if progress.seconds_left is None else f"{progress.seconds_left:.0f} s left"
            bar.update(task, description=progress.phase, completed=progress.done, total=progress.total, left=left)

        yield show


def _checkpoint_path(model: Path) -> Path:
    path = model / BEST_CHECKPOINT if model.is_dir() else model
    if not path.exists():
        raise InvalidCheckpoint(f"{path} does not exist: `tinygpt train --out {model}` makes it.")
    return path


def _chosen(rows: Sequence[Row], split: str | None, limit: int | None) -> Sequence[Row]:
    """The rows to judge. Raises `InvalidDataset` if no row is of this split."""
    if split is not None:
        names = sorted({str(row.extra["split"]) for row in rows if row.extra.get("split")})
        rows = [row for row in rows if row.extra.get("split") == split]
        if not rows:
            known = f"there are {', '.join(names)}" if names else "the rows name no split at all"
            raise InvalidDataset(f"No row is of the split {split!r}: {known}.")
    return rows if limit is None else evenly_spaced(rows, limit)


def _require_a_file(path: Path) -> None:
    """Raises `OSError` for a folder: before the evaluation, not after it."""
    if path.is_dir():
        raise IsADirectoryError(21, "is a folder: name a file in it", str(path))


def _write(path: Path, text: str) -> None:
    with open_whole(path) as file:
        file.write(text.encode(errors="replace"))
    typer.echo(f"Wrote {path}.")


evaluate.__doc__ = f"{evaluate.__doc__}\n\n{WHAT_THIS_IS_NOT}"
