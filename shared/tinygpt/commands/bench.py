"""`tinygpt bench`: alternatives trained for the same time on the same rows, in one table."""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from tinygpt.commands.failures import EXIT_INTERRUPTED, CtrlC, one_sentence
from tinygpt.data.bundled import bundled_rows
from tinygpt.durable import write_whole

app = typer.Typer()


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


@app.command("architectures")
def architectures(
    data: Data = None, seconds: Seconds = 60.0, seeds: Seeds = 1, out: Out = Path("benchmarks/results")
) -> None:
    """Train a transformer, the tutorial's one, an LSTM and a Mamba, byte pairs and an unmasked loss, and compare.

    Each has the same rows and the same wall-clock. On a busy machine the figures compare with nothing.
    """
    _compare("architectures", data, seconds, seeds, None, out)


@app.command("options")
def options(
    data: Data = None,
    seconds: Seconds = 30.0,
    seeds: Seeds = 3,
    batch_size: BatchSize = None,
    out: Out = Path("benchmarks/results"),
) -> None:
    """Train `quick-start`, and again with each of its departures from the tutorial's way undone, and compare.

    Each has the same rows and the same wall-clock. On a busy machine the figures compare with nothing.
    """
    _compare("options", data, seconds, seeds, batch_size, out)


def _compare(
    what: Literal["architectures", "options"],
    data: Path | None,
    seconds: float,
    seeds: int,
    batch_size: int | None,
    out: Path,
) -> None:
    console = Console(highlight=False, soft_wrap=True)
    try:
        with one_sentence():
            if out.exists() and not out.is_dir():
                raise NotADirectoryError(20, "is a file: name a folder", str(out))
            rows = data or bundled_rows("curated")
            from tinygpt.model import ops
            from tinygpt.training import bake_off

            alternatives = bake_off.architectures() if what == "architectures" else bake_off.options(batch_size)
            runs = [pair for seed in range(seeds) for pair in bake_off.with_budget(alternatives, seconds, seed).items()]
            measured: list[bake_off.Measured] = []
            columns = (
                TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
            )  # fmt: skip
            with (
                CtrlC() as ctrl_c,
                tempfile.TemporaryDirectory(prefix="tinygpt-bench-") as folder,
                ProgressBar(*columns, console=console, disable=not console.is_terminal) as bar,
            ):
                task = bar.add_task("compiling", total=len(runs) * seconds, left="")
                ops.warm_all(ctrl_c.raise_if_noted)  # once, and not in the first run's time
                for i, (name, config) in enumerate(runs):

                    def show(trained: float, name: str = name, before: int = i) -> None:
                        done = before * seconds + min(trained, seconds)
                        left = f"{len(runs) * seconds - done:.0f} s left"
                        bar.update(task, description=name, completed=done, left=left)

                    measured.append(bake_off.measure(name, config, rows, Path(folder), show, ctrl_c.raise_if_noted))
                    loss = measured[-1].validation_loss
                    console.print(f"{name}: {loss:.3f}, {(len(runs) - i - 1) * seconds:.0f} s left")
            settings = bake_off.settings(f"tinygpt bench {what}", rows, seconds, seeds, alternatives)
            table = _table(bake_off.table_columns(seconds), bake_off.table_cells(measured, seconds))
            console.print(table, soft_wrap=False)
            report = json.dumps(bake_off.as_report(settings, measured), indent=1) + "\n"
            for path, text in {
                out / f"{what}.json": report,
                out / f"{what}.md": bake_off.as_markdown(f"{what.capitalize()} compared", settings, measured),
            }.items():
                write_whole(path, text)
                console.print(f"Wrote {path}.")
    except KeyboardInterrupt:
        typer.echo("tinygpt: stopped; nothing was written.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _table(columns: tuple[str, ...], lines: list[tuple[str, ...]]) -> Table:
    table = Table(
        box=box.SIMPLE,
        pad_edge=False,
        caption="Validation loss in nats per character of code after so many seconds.",
    )
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=i > 0, min_width=12 if i == 0 else None)
    for cells in lines:
        table.add_row(*(cell.replace(" (", "\n(") for cell in cells))  # a range has a line of its own
    return table
