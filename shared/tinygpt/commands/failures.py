"""One clear sentence on stderr and an exit code, in place of a traceback."""

import contextlib
from collections.abc import Iterator

import typer

from tinygpt.contracts.errors import TinyGPTError

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


@contextlib.contextmanager
def one_sentence() -> Iterator[None]:
    """Print the message of a `TinyGPTError` or `OSError` and exit 1."""
    try:
        yield
    except TinyGPTError as error:
        typer.echo(f"tinygpt: {error.message}", err=True)
        raise typer.Exit(EXIT_FAILED) from error
    except OSError as error:
        typer.echo(f"tinygpt: {error.filename or 'a file'}: {error.strerror}.", err=True)
        raise typer.Exit(EXIT_FAILED) from error
