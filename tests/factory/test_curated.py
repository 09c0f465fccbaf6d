"""`data/curated.jsonl`, written by hand: every row is fit for training, and its checks hold."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tinygpt.data.rows import Row, read_rows
from tinygpt.data.validation import validate

DATA = Path(__file__).resolve().parents[2] / "data"
CURATED = DATA / "curated.jsonl"
RUN_CHECKS = """
import json, os, sys
from tinygpt.evaluation.jail.answer import check_functions
home, passed = os.getcwd(), []
for number, line in enumerate(sys.stdin):
    row = json.loads(line)
    os.mkdir(f"{home}/{number}")
    os.chdir(f"{home}/{number}")
    try:
        namespace = {"__name__": "__main__", "code": row["code"]}
        namespace |= check_functions(namespace)
        exec(row["check"], namespace)
    except BaseException as error:
        passed.append(False)
    else:
        passed.append(True)
print(json.dumps(passed), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return read_rows(CURATED)


def test_every_row_is_valid_and_fits_the_quick_start_context() -> None:
    report = validate(CURATED, context_length=256)

    assert report.problems == []
    assert report.statistics.rows >= 300


def test_every_code_is_whole_python(rows: list[Row]) -> None:
    def parses(code: str) -> bool:
        try:
            return bool(ast.parse(code).body)
        except SyntaxError:
            return False

    assert [row.prompt for row in rows if not parses(row.code)] == []


def test_no_two_prompts_are_the_same_but_for_case_and_spaces(rows: list[Row]) -> None:
    prompts = [" ".join(row.prompt.lower().split()) for row in rows]

    assert len(set(prompts)) == len(prompts)


def test_no_prompt_or_code_has_outer_space(rows: list[Row]) -> None:
    assert [row for row in rows if row.prompt != row.prompt.strip() or row.code != row.code.strip()] == []


def test_there_are_expressions_and_functions(rows: list[Row]) -> None:
    functions = sum(row.code.lstrip("@").startswith("def ") for row in rows)

    assert functions >= 30
    assert len(rows) - functions >= 30


def test_every_row_names_its_family_and_has_a_check(rows: list[Row]) -> None:
    assert [row.prompt for row in rows if not row.extra.get("family") or not row.extra.get("check")] == []


def which_pass(rows: Sequence[Row], code_of: Callable[[Row], str], folder: Path) -> list[bool]:
    lines = "".join(json.dumps({"code": code_of(row), "check": row.extra["check"]}) + "\n" for row in rows)
    command = [sys.executable, "-I", "-c", RUN_CHECKS]
    ran = subprocess.run(command, input=lines, capture_output=True, text=True, cwd=folder, timeout=100, check=True)
    passed: list[bool] = json.loads(ran.stderr)
    return passed


def test_every_check_holds_for_its_own_code(rows: list[Row], tmp_path: Path) -> None:
    passed = which_pass(rows, lambda row: row.code, tmp_path)
    assert [row.prompt for row, own in zip(rows, passed, strict=True) if not own] == []


@pytest.mark.parametrize("name", ["curated.jsonl", "beginner.jsonl"])
@pytest.mark.parametrize("wrong", ["None", "pass", "a function that does nothing"])
def test_no_check_takes_a_wrong_code(name: str, wrong: str, tmp_path: Path) -> None:
    rows = read_rows(DATA / name)

    def code_of(row: Row) -> str:
        if wrong != "a function that does nothing":
            return wrong
        names = re.findall(r"^def (\w+)", row.code, re.MULTILINE)
        return "\n".join(f"def {name}(*arguments, **named):\n    return None" for name in names) or wrong

    passed = which_pass(rows, code_of, tmp_path)
    assert [row.prompt for row, taken in zip(rows, passed, strict=True) if taken and code_of(row) != row.code] == []
