"""Every command that README and docs show exists."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks.bench_alternatives import app as comparisons
from tests.docs.pages import PAGES, ROOT, name
from tinygpt.cli import app
from tinygpt_factory.__main__ import app as factory

CODE = re.compile(r"^ *```(?:sh|console)\n(.*?)^ *```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
ASSIGNMENTS = r"(?:\S+=\S+ )*"


def _shown(page: Path, command: str) -> list[str]:
    """What follows `command` in each line of a block, and in each span of code."""
    found = CODE.findall(page.read_text(encoding="utf-8"))
    lines = [line.removeprefix("$ ") for block, span in found for line in (block or span).splitlines()]
    matches = (re.match(rf"{ASSIGNMENTS}(?:\S*/)?{command} ([a-z].*)", line) for line in lines)
    return [match[1] for match in matches if match]


def _command(words: list[str]) -> Any:
    """The command that `words` begin with; `KeyError` if there is none."""
    if words[:2] == ["data", "build"]:  # passed on to the factory
        return typer.main.get_command(factory)
    command: Any = typer.main.get_command(app)
    if words[:1] == ["bench"]:  # passed on to the benchmarks
        command, words = typer.main.get_command(comparisons), words[1:]
    for word in words:
        if not hasattr(command, "commands"):
            break
        command = command.commands[word]
    return command


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_make_target_exists(page: Path) -> None:
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    shown = {line.split()[0] for line in _shown(page, "make")}
    assert sorted(shown - set(targets)) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_tinygpt_command_and_option_exists(page: Path) -> None:
    wrong = []
    for line in _shown(page, "tinygpt"):
        words = shlex.split(line, comments=True)
        try:
            options = {option for parameter in _command(words).params for option in parameter.opts}
        except KeyError:
            wrong.append(line)
            continue
        wrong += [line for word in words if word.startswith("--") and word.partition("=")[0] not in options]
    assert wrong == []
