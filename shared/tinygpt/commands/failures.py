"""When a command can't go on or shall not: one clear sentence and an exit code in place of a traceback, and Ctrl-C."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

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


class CtrlC:
    """Within its block the first Ctrl-C is noted, for those who ask between two pieces of work; the second ends the
    command wherever it is.

    Raised at once, one that comes while numba compiles or loads machine code would be lost: an exception in a callback
    from foreign code is printed and forgotten.
    """

    def __init__(self, on_first: Callable[[], object] = lambda: None) -> None:
        self.noted = False
        self._on_first = on_first

    def __enter__(self) -> "CtrlC":
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def raise_if_noted(self) -> None:
        """Raises `KeyboardInterrupt`."""
        if self.noted:
            raise KeyboardInterrupt

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self.raise_if_noted()
        self.noted = True
        self._on_first()
