"""`python -m tinygpt_factory`, which is also `tinygpt data build`: grow the bundled dataset."""

import gc
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tinygpt.commands.failures import EXIT_FAILED, EXIT_INTERRUPTED, one_sentence
from tinygpt.data.bundled import read_pin
from tinygpt_factory.bundle import DEFAULT_ROWS, make_bundle
from tinygpt_factory.checks import BuildFailed
from tinygpt_factory.files import write_bundle, write_pinned
from tinygpt_factory.processes import cores

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def build(
    folder: Annotated[
        Path,
        typer.Option("--out", help="Folder with curated.jsonl and beginner.jsonl. What is grown goes there."),
    ] = Path("data"),
    rows: Annotated[
        int, typer.Option(min=1000, help="Rows grown from the families, held-out ones among them.")
    ] = DEFAULT_ROWS,
    seed: Annotated[int, typer.Option(help="Same seed, same files.")] = 0,
    check: Annotated[bool, typer.Option("--check", help="Run every row's check too. It takes some minutes.")] = False,
    pinned: Annotated[
        bool,
        typer.Option(
            "--pinned",
            help="Grow what bundled.json names, and write train.jsonl only: not if it or held_out.jsonl would differ.",
        ),
    ] = False,
    processes: Annotated[
        int | None, typer.Option(min=1, help="The files do not depend on it. As many as cores if left out.")
    ] = None,
) -> None:
    """Grow the bundled dataset from the families: train.jsonl, held_out.jsonl, and bundled.json with their hashes."""
    gc.disable()  # millions of small objects and no cycles
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(highlight=False, soft_wrap=True, stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with one_sentence():
            if pinned:
                pin = read_pin(folder)
                rows, seed = pin.rows, pin.seed
            # Without a thread that draws, because processes are forked.
            with Progress(*columns, console=console, auto_refresh=False, disable=not console.is_terminal) as bar:
                task = bar.add_task("Growing and checking rows" if check else "Growing rows", total=rows)

                def show(done: int, total: int) -> None:
                    bar.update(task, completed=done, total=total, refresh=True)

                bundle = make_bundle(
                    folder, rows=rows, seed=seed, check=check, processes=processes or cores(), on_progress=show
                )
            written = write_pinned(bundle, folder) if pinned else write_bundle(bundle, folder, rows=rows, seed=seed)
    except BuildFailed as error:
        typer.echo(f"tinygpt: {error}", err=True)
        raise typer.Exit(EXIT_FAILED) from error
    except KeyboardInterrupt:
        typer.echo("tinygpt: stopped; nothing was written.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    for path, number in written.items():
        typer.echo(f"{path}: {number:,} rows")


if __name__ == "__main__":
    app(prog_name="tinygpt data build")
