"""Running the data factory, a package of its own that an installation may lack, as a process of its own."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tinygpt.contracts.errors import InvalidDataset

_PACKAGE = "tinygpt_factory"
_SECONDS_BETWEEN_POLLS = 0.2


def run_factory(arguments: Sequence[str]) -> int:
    """Run `python -m tinygpt_factory` with these arguments on this terminal. Returns its exit status.

    Raises `InvalidDataset` if the factory is not installed.
    """
    return subprocess.run(_command(arguments), check=False).returncode


def grow(folder: Path, poll: Callable[[], object] = lambda: None) -> None:
    """Grow the pinned rows into `folder`, with a progress bar on a terminal. Calls `poll` now and then.

    Raises `InvalidDataset` if the factory is not installed, or fails: then with what it said.
    """
    said = None if on_terminal() else subprocess.PIPE
    with subprocess.Popen(_command(["--pinned", "--out", str(folder)]), stdout=said, stderr=said, text=True) as process:
        try:
            while True:
                try:
                    _, error = process.communicate(timeout=_SECONDS_BETWEEN_POLLS)
                    break
                except subprocess.TimeoutExpired:
                    poll()
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        reason = (error or "the data factory failed.").strip().removeprefix("tinygpt: ")
        raise InvalidDataset(f"The bundled rows could not be grown: {reason}")


def on_terminal() -> bool:
    """Whether standard error is a terminal: the factory draws its progress bar there."""
    return sys.stderr.isatty()


def _command(arguments: Sequence[str]) -> list[str]:
    if importlib.util.find_spec(_PACKAGE) is None:
        raise InvalidDataset("The data factory is not installed here: run this in a checkout, after `make install`.")
    return [sys.executable, "-m", _PACKAGE, *arguments]
