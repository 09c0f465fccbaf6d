"""`tinygpt bench`: the entry to the comparisons in `benchmarks/`, which are part of a checkout, not of the library."""

import importlib

import typer

from tinygpt.commands.failures import EXIT_FAILED

_MODULE = "benchmarks.bench_alternatives"


def bench(context: typer.Context) -> None:
    """Compare architectures or options on this machine (from a checkout of the repository)."""
    try:
        comparisons = importlib.import_module(_MODULE)
    except ModuleNotFoundError as error:
        if error.name not in (_MODULE, "benchmarks"):
            raise
        typer.echo("tinygpt: bench needs the folder benchmarks/: run it from a checkout of the repository.", err=True)
        raise typer.Exit(EXIT_FAILED) from error
    comparisons.app(args=context.args, prog_name="tinygpt bench")
