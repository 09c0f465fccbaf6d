"""Running the checks of rows. They are the project's own code, never a model's, so they run in this process."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinygpt.evaluation.jail.answer import check_functions


class BuildFailed(Exception):
    """A family is wrong: a row does not pass its check, or one prompt has two answers."""

    def __init__(self, family: str, prompt: str, code: str, reason: str) -> None:
        super().__init__(family, prompt, code, reason)  # so that another process can raise it again
        self.family = family
        self.prompt = prompt
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.family}: {self.reason}\nprompt: {self.prompt}\ncode:\n{self.code}"


def run_check(code: str, check: str) -> None:
    """Run a check against a code in a namespace of its own. Raises whatever the check raises."""
    namespace: dict[str, Any] = {"__name__": "__main__", "code": code}
    namespace |= check_functions(namespace)
    exec(check, namespace)


def prove(family: str, prompt: str, code: str, check: str) -> None:
    """Run a row's check, then empty the working folder, where checks write files.

    Raises `BuildFailed` if the check raises anything.
    """
    try:
        run_check(code, check)
    except Exception as error:
        raise BuildFailed(family, prompt, code, f"the check fails: {error!r}") from error
    for left in os.scandir():
        shutil.rmtree(left) if left.is_dir() else Path(left).unlink()


@contextmanager
def empty_working_folder() -> Iterator[None]:
    """Make a temporary folder the working folder, for checks to write in."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty"
        empty.mkdir()
        os.chdir(empty)
        try:
            yield
        finally:
            os.chdir(before)
