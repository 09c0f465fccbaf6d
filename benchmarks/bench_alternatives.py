"""`tinygpt bench`: alternatives trained for the same time on the same rows, in one table."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from benchmarks import alternatives
from benchmarks.alternative_runs import (
    Measured,
    as_markdown,
    as_report,
    measure,
    settings,
    table_cells,
    table_columns,
)
from benchmarks.alternatives import Alternatives, with_budget
from benchmarks.reports import compact_json
from tinygpt.commands.failures import EXIT_INTERRUPTED, CtrlC, one_sentence
from tinygpt.data.bundled import bundled_rows
from tinygpt.durable import write_whole
from tinygpt.model import ops

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def bench() -> None:
    """Compare alternatives on this machine."""


Data = Annotated[
    Path | None,
    typer.Option(help="Rows as JSONL, CSV or SQLite. The hand-written rows if left out.", show_default=False),
]
Seconds = Annotated[float, typer.Option(min=1, help="Training time of each alternative.")]
Seeds = Annotated[int, typer.Option(min=1, help="Runs of each, with other random numbers.")]
BatchSize = Annotated[
    int | None, typer.Option(min=2, help="Rows of a step. The preset's if left out.", show_default=False)
]
Out = Annotated[Path, typer.Option(help="Folder for the table and the JSON, named like the command.")]
RESULTS = Path("benchmarks/results")


@app.command("architectures")
def architectures(data: Data = None, seconds: Seconds = 60.0, seeds: Seeds = 1, out: Out = RESULTS) -> None:
    """Compare the transformer with the tutorial's, an LSTM, a Mamba, byte pairs and an unmasked loss.

    Each is trained on the same rows for the same time. On a busy machine the figures compare with nothing.
    """
    _compare("architectures", alternatives.architectures(), data, seconds, seeds, out)


@app.command("options")
def options(
    data: Data = None, seconds: Seconds = 30.0, seeds: Seeds = 3, batch_size: BatchSize = None, out: Out = RESULTS
) -> None:
    """Compare `quick-start` with itself less each of its departures from the tutorial.

    Each is trained on the same rows for the same time. On a busy machine the figures compare with nothing.
    """
    _compare("options", alternatives.options(batch_size), data, seconds, seeds, out)


def _compare(what: str, compared: Alternatives, data: Path | None, seconds: float, seeds: int, out: Path) -> None:
    console = Console(highlight=False, soft_wrap=True)
    try:
        with one_sentence():
            if out.exists() and not out.is_dir():
                raise NotADirectoryError(20, "is a file: name a folder", str(out))
            rows = data or bundled_rows("curated")
            measured = _measure_all(compared, rows, seconds, seeds, console)
            described = settings(f"tinygpt bench {what}", rows, seconds, seeds, compared)
            console.print(_table(table_columns(seconds), table_cells(measured, seconds)), soft_wrap=False)
            for path, text in {
                out / f"{what}.json": compact_json(as_report(described, measured)),
                out / f"{what}.md": as_markdown(f"{what.capitalize()} compared", described, measured),
            }.items():
                write_whole(path, text)
                console.print(f"Wrote {path}.")
    except KeyboardInterrupt:
        typer.echo("tinygpt: stopped; nothing was written.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _measure_all(compared: Alternatives, rows: Path, seconds: float, seeds: int, console: Console) -> list[Measured]:
    """All alternatives with the first seed, then with the next, so that a slow hour slows all of them."""
    runs = [pair for seed in range(seeds) for pair in with_budget(compared, seconds, seed).items()]
    total = len(runs) * seconds
    measured: list[Measured] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    with (
        CtrlC() as ctrl_c,
        tempfile.TemporaryDirectory(prefix="tinygpt-bench-") as folder,
        ProgressBar(*columns, console=console, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("compiling", total=total, left="")
        ops.warm_all(ctrl_c.raise_if_noted)  # once, before the first run's time
        for i, (name, config) in enumerate(runs):

            def show(trained: float, name: str = name, before: float = i * seconds) -> None:
                done = before + min(trained, seconds)
                bar.update(task, description=name, completed=done, left=f"{total - done:.0f} s left")

            measured.append(measure(name, config, rows, Path(folder), show, ctrl_c.raise_if_noted))
            loss = measured[-1].validation_loss
            console.print(f"{name}: {loss:.3f}, {(len(runs) - i - 1) * seconds:.0f} s left")
    return measured


def _table(columns: tuple[str, ...], lines: list[tuple[str, ...]]) -> Table:
    table = Table(
        box=box.SIMPLE,
        pad_edge=False,
        caption="Columns named by seconds: validation loss in nats per character of code.",
    )
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=i > 0, min_width=12 if i == 0 else None)
    for cells in lines:
        table.add_row(*(cell.replace(" (", "\n(") for cell in cells))  # a range gets its own line
    return table
