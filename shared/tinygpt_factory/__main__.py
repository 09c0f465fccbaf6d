"""`python -m tinygpt_factory`, which is also `tinygpt data build`: grow the bundled dataset."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tinygpt.commands.failures import EXIT_FAILED, one_sentence
from tinygpt_factory.build import BuildFailed
from tinygpt_factory.bundle import DEFAULT_ROWS, HELD_OUT_FILE, TRAIN_FILE, make_bundle, write_bundle

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def build(
    folder: Annotated[
        Path,
        typer.Option(
            "--out", help="Folder with curated.jsonl and beginner.jsonl; train.jsonl and held_out.jsonl go there."
        ),
    ] = Path("data"),
    rows: Annotated[
        int, typer.Option(min=1000, help="Rows grown from the families, held-out ones among them.")
    ] = DEFAULT_ROWS,
    seed: Annotated[int, typer.Option(help="Same seed, same files.")] = 0,
) -> None:
    """Grow the bundled dataset from the families, running every row's check. Takes some minutes."""
    console = Console(highlight=False, soft_wrap=True)
    with one_sentence():
        try:
            with console.status("Growing and checking rows ..."):
                bundle = make_bundle(folder, rows=rows, seed=seed)
        except BuildFailed as error:
            typer.echo(f"tinygpt: {error}", err=True)
            raise typer.Exit(EXIT_FAILED) from error
        write_bundle(bundle, folder)
    console.print(
        f"{folder / TRAIN_FILE}: {len(bundle.training):,} rows\n{folder / HELD_OUT_FILE}: {len(bundle.held_out):,} rows"
    )


if __name__ == "__main__":
    app(prog_name="tinygpt data build")
