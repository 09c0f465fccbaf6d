"""`data/curated.jsonl`, written by hand: every row is fit for training, and its checks hold."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tinygpt.data.rows import Row, read_rows
from tinygpt.data.validation import validate

CURATED = Path(__file__).resolve().parents[2] / "data" / "curated.jsonl"
CHECK_EVERY = 10
RUN_CHECKS = """
import json, os, sys
home, failed = os.getcwd(), []
for number, line in enumerate(sys.stdin):
    row = json.loads(line)
    os.mkdir(f"{home}/{number}")
    os.chdir(f"{home}/{number}")
    try:
        exec(row["check"], {"__name__": "__main__", "code": row["code"]})
    except BaseException as error:
        failed.append(f"{row['prompt']}: {error!r}")
print(json.dumps(failed), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return read_rows(CURATED)


def test_every_row_is_valid_and_fits_the_quick_start_context() -> None:
    report = validate(CURATED, context_length=256)

    assert report.problems == []
    assert report.statistics.rows >= 150


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


def test_the_checks_of_a_sample_hold(rows: list[Row], tmp_path: Path) -> None:
    sample = rows[::CHECK_EVERY]
    lines = "".join(json.dumps({"prompt": r.prompt, "code": r.code, **r.extra}) + "\n" for r in sample)

    ran = subprocess.run(
        [sys.executable, "-I", "-c", RUN_CHECKS],
        input=lines,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=True,
    )

    assert json.loads(ran.stderr) == []
