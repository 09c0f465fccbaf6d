"""The report on a whole file: every problem, and what the good rows are like."""

import json
from pathlib import Path

from tinygpt.contracts.datasets import ProblemKind, ValidationReport
from tinygpt.data.rows import Row
from tinygpt.data.tokenizer import CharacterTokenizer
from tinygpt.data.validation import MAX_PROBLEMS, token_length, validate


def jsonl(folder: Path, *rows: tuple[str, str] | str) -> Path:
    path = folder / "rows.jsonl"
    lines = [row if isinstance(row, str) else json.dumps({"prompt": row[0], "code": row[1]}) for row in rows]
    path.write_text("".join(line + "\n" for line in lines))
    return path


def problems(report: ValidationReport) -> list[tuple[int, str]]:
    return [(problem.line, str(problem.kind)) for problem in report.problems]


def test_every_bad_row_is_reported_with_its_line(tmp_path: Path) -> None:
    report = validate(
        jsonl(tmp_path, "{", ("good", "1"), '{"prompt": "no code"}', ("blank", " "), "[]", '{"prompt": 1, "code": ""}')
    )

    assert problems(report) == [
        (1, "not_json"),
        (3, "key_missing"),
        (4, "blank"),
        (5, "not_an_object"),
        (6, "not_text"),
    ]
    assert (report.errors, report.warnings, report.ok) == (5, 0, False)
    assert report.statistics.rows == 1


def test_all_problems_are_counted_and_the_first_hundred_kept(tmp_path: Path) -> None:
    report = validate(jsonl(tmp_path, *["{"] * (MAX_PROBLEMS + 50)))

    assert report.errors == MAX_PROBLEMS + 50
    assert [line for line, _ in problems(report)] == list(range(1, MAX_PROBLEMS + 1))


def test_warnings_leave_room_for_the_errors_after_them(tmp_path: Path) -> None:
    report = validate(jsonl(tmp_path, *[("the same", "1")] * (MAX_PROBLEMS + 9), "{"))

    assert (report.warnings, report.errors) == (MAX_PROBLEMS + 8, 1)
    assert problems(report)[MAX_PROBLEMS:] == [(MAX_PROBLEMS + 10, "not_json")]


def test_prompts_that_training_takes_for_one_are_compared_as_one(tmp_path: Path) -> None:
    report = validate(jsonl(tmp_path, ("Reverse nums", "a"), ("reverse  nums", "b"), ("reverse nums", "a")))

    assert problems(report) == [(2, "conflict"), (3, "duplicate")]


def test_a_row_as_long_as_the_context_is_good_and_one_token_more_is_too_long(tmp_path: Path) -> None:
    report = validate(jsonl(tmp_path, ("p" * 5, "c" * 8), ("p" * 5, "c" * 9)), context_length=16)

    assert problems(report) == [(2, "too_long")]
    assert "17 tokens" in report.problems[0].message
    assert "context of 16" in report.problems[0].message
    assert report.statistics.max_length == 16


def test_the_length_of_a_row_is_that_of_its_tokens() -> None:
    row = Row("reverse 🎉", "nums[::-1]\n")
    tokens, _ = CharacterTokenizer.from_corpus([]).encode_supervised(row.prompt, row.code)

    assert token_length(row) == len(tokens)


def test_a_repeated_row_warns_and_names_the_line_where_it_first_stood(tmp_path: Path) -> None:
    report = validate(jsonl(tmp_path, ("one", "1"), ("one", "2 - 1"), ("two", "2"), ("one", "2 - 1")))

    assert problems(report) == [(2, "conflict"), (4, "duplicate")]
    assert "line 1" in report.problems[0].message
    assert "line 2" in report.problems[1].message
    assert (report.errors, report.warnings, report.ok) == (0, 2, True)


def test_the_same_code_for_other_prompts_is_no_problem(tmp_path: Path) -> None:
    assert validate(jsonl(tmp_path, ("one", "1"), ("uno", "1"))).problems == []


def test_statistics_are_those_of_the_good_rows(tmp_path: Path) -> None:
    rows = [("p", "c" * n) for n in range(1, 101)]
    report = validate(jsonl(tmp_path, "{", *rows), context_length=200)

    statistics = report.statistics
    assert (statistics.rows, statistics.unique_characters, statistics.context_length) == (100, 2, 200)
    assert (statistics.median_length, statistics.p95_length, statistics.max_length) == (55, 100, 104)
    assert statistics.context_filled == round(sum(n + 4 for n in range(1, 101)) / 100 / 200, 4)


def test_an_empty_file_is_an_error_that_says_so(tmp_path: Path) -> None:
    report = validate(jsonl(tmp_path))

    assert [problem.kind for problem in report.problems] == [ProblemKind.NO_ROWS]
    assert not report.ok


def test_a_file_that_cannot_be_read_at_all_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("question;answer\n")
    for path in (tmp_path / "rows.csv", tmp_path / "missing.jsonl"):
        report = validate(path)

        assert (report.errors, len(report.problems)) == (1, 1)
        assert path.name in report.problems[0].message


def test_every_report_can_be_sent_as_json(tmp_path: Path) -> None:
    (tmp_path / "bytes.csv").write_bytes(b"prompt,code\n\xff,1\n")
    (tmp_path / "utf16.csv").write_text("prompt,code\n", encoding="utf-16")
    for name in ("bytes.csv", "utf16.csv"):
        report = validate(tmp_path / name)

        assert ValidationReport.model_validate_json(report.model_dump_json()) == report


def test_prompts_are_counted_once_however_they_are_written(tmp_path: Path) -> None:
    path = jsonl(tmp_path, ("one", "1"), (" ONE", "1"), ("one  two", "1"))
    assert validate(path).statistics.distinct_prompts == 2
