"""`tinygpt data`: what is wrong with a file of rows (`check`), and the bundled rows (`grow`, `build`)."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tinygpt.commands.failures import EXIT_FAILED, one_sentence
from tinygpt.contracts.datasets import ValidationReport
from tinygpt.data.bundled import grow_bundled_rows
from tinygpt.data.factory import run_factory
from tinygpt.data.validation import DEFAULT_CONTEXT_LENGTH, validate

app = typer.Typer()


@app.callback()
def data() -> None:
    """Look at datasets."""


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="JSONL, CSV or SQLite, by the file's name.", show_default=False)],
    context_length: Annotated[
        int, typer.Option(min=16, help="Tokens a row may have, prompt and code together.")
    ] = DEFAULT_CONTEXT_LENGTH,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Don't list warnings, only count them.")] = False,
) -> None:
    """Report bad rows (the first hundred) and the statistics of the good ones. Exits 1 if a row is bad."""
    with one_sentence():
        report = validate(file, context_length=context_length)
    console = Console(highlight=False, soft_wrap=True)
    for problem in report.problems:
        if not (quiet and problem.kind.is_warning):
            word = "warning" if problem.kind.is_warning else "error"
            console.print(f"{file}:{problem.line}: {word}: {problem.message}", markup=False)
    if left_out := report.errors + report.warnings - len(report.problems):
        console.print(f"… {left_out} more")
    console.print(_table(report))
    if not report.ok:
        raise typer.Exit(EXIT_FAILED)


@app.command("grow")
def grow() -> None:
    """Grow the bundled rows, if they are missing or not the pinned ones. A command that needs them does it too."""
    with one_sentence():
        path = grow_bundled_rows()
    typer.echo(f"{path} has the pinned rows.")


@app.command(
    "build", add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def build(context: typer.Context) -> None:
    """Grow the bundled dataset. The data factory does it: `tinygpt data build --help` shows its options."""
    with one_sentence():
        status = run_factory(context.args)
    if status:
        raise typer.Exit(status)


def _table(report: ValidationReport) -> Table:
    statistics = report.statistics
    table = Table(show_header=False)
    rows = {
        "good rows": f"{statistics.rows:,}",
        "errors": f"{report.errors:,}",
        "warnings": f"{report.warnings:,}",
        "unique characters": f"{statistics.unique_characters:,}",
        "tokens a row: median / p95 / max": f"{statistics.median_length} / {statistics.p95_length} / "
        f"{statistics.max_length}",
        "token budget a row (context)": f"{statistics.context_length:,}",
        "share of the context filled": f"{statistics.context_filled:.1%}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table
