"""Every link and every file that README and docs name exists."""

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.pages import PAGES, ROOT, name, prose

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"^[\w.\-/]+\.(?:py|lua|md|toml|yml|txt|lock|ts|svelte)$")
FOLDER = re.compile(r"^(?:shared|services|tests|benchmarks|docs|deploy|data)(?:/[\w.\-]+)*/?$")
NOT_OURS = {"model.py"}
"""Files of other projects."""
GROWN = {"data/train.jsonl"}
"""Files that are in no fresh checkout."""
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@cache
def _files() -> tuple[str, ...]:
    """Every file of the project, as a path that begins with a slash."""
    folders = ("shared", "services", "tests", "benchmarks", "docs", "data", "deploy")
    below = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    top = (path for path in ROOT.iterdir() if path.is_file())
    return tuple("/" + path.relative_to(ROOT).as_posix() for path in (*below, *top))


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = HEADING.findall(prose(page))
    plain = [re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_to_a_file_and_its_heading(page: Path) -> None:
    broken = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (anchor and anchor not in _anchors(linked)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_and_folder_that_is_named_exists(page: Path) -> None:
    spans = {span for span in CODE.findall(prose(page)) if "<" not in span and not span.startswith((".venv", "~"))}
    files = {span for span in spans if FILE.match(span)} - NOT_OURS
    missing = {span for span in files if not any(path.endswith("/" + span) for path in _files())}
    folders = {span for span in spans - files if "/" in span and FOLDER.match(span)}
    missing |= {span for span in folders - GROWN if not (ROOT / span).exists()}
    assert sorted(missing) == []
