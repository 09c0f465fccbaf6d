"""Rows read from JSONL, CSV and SQLite: what is a row, what is wrong with one, and where."""

import csv
import json
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import examples
from tests.full_disk import full_disk
from tinygpt.contracts.datasets import ProblemKind, RowProblem
from tinygpt.contracts.errors import InvalidDataset, StorageFull
from tinygpt.data.rows import Format, Row, format_of, read_rows, row_from, scan_rows, write_rows

ROWS = [
    Row("reverse the list nums", "nums[::-1]"),
    Row('say "hi", twice', 'print("hi")\nprint("hi")', {"family": "printing"}),
    Row("größe 🎉", "größe = '🎉'"),
]


def jsonl(folder: Path, *lines: str | bytes) -> Path:
    path = folder / "rows.jsonl"
    path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
    return path


def sqlite(folder: Path, *statements: str, name: str = "rows.db") -> Path:
    connection = sqlite3.connect(folder / name)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return folder / name


def only_problem(path: Path, format: Format | None = None) -> RowProblem:
    (problem,) = (row for _, row in scan_rows(path, format) if isinstance(row, RowProblem))
    return problem


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS)

    assert read_rows(tmp_path / "rows.jsonl") == ROWS


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(60))
@given(
    prompt=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).filter(str.strip),
    code=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).filter(str.strip),
    extra=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5).filter(lambda key: key not in ("prompt", "code")),
        st.none() | st.booleans() | st.integers() | st.text(),
        max_size=3,
    ),
)
def test_any_text_survives_writing_and_reading(
    tmp_path: Path, prompt: str, code: str, extra: dict[str, object]
) -> None:
    rows = [Row(prompt, code, extra)]
    write_rows(tmp_path / "rows.jsonl", rows)

    assert read_rows(tmp_path / "rows.jsonl") == rows


def test_csv_reads_as_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["code", "prompt"])
        writer.writeheader()
        writer.writerows({"prompt": row.prompt, "code": row.code} for row in ROWS)

    assert [(row.prompt, row.code) for row in read_rows(path)] == [(row.prompt, row.code) for row in ROWS]


def test_csv_with_a_byte_order_mark_and_a_further_column_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("prompt,code,family\none,1,numbers\n", encoding="utf-8-sig")

    assert read_rows(path) == [Row("one", "1", {"family": "numbers"})]


def test_sqlite_reads_as_the_same_rows(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "rows.db")
    connection.execute("CREATE TABLE notes (text)")
    connection.execute("CREATE TABLE rows (code, prompt)")
    connection.executemany("INSERT INTO rows VALUES (?, ?)", [(row.code, row.prompt) for row in ROWS])
    connection.commit()
    connection.close()

    assert [(row.prompt, row.code) for row in read_rows(tmp_path / "rows.db")] == [
        (row.prompt, row.code) for row in ROWS
    ]


def test_reading_a_database_leaves_it_as_it_was(tmp_path: Path) -> None:
    path = sqlite(tmp_path, "CREATE TABLE rows (prompt, code)", "INSERT INTO rows VALUES ('one', '1')")
    before = path.read_bytes()
    read_rows(path)

    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["rows.db"]


def test_a_sqlite_blob_in_a_further_column_is_kept_as_hexadecimal(tmp_path: Path) -> None:
    path = sqlite(tmp_path, "CREATE TABLE rows (prompt, code, hash)", "INSERT INTO rows VALUES ('one', '1', x'00ff')")
    write_rows(tmp_path / "rows.jsonl", read_rows(path))

    assert read_rows(tmp_path / "rows.jsonl") == [Row("one", "1", {"hash": "00ff"})]


def test_half_a_surrogate_pair_in_a_further_key_is_kept(tmp_path: Path) -> None:
    read = read_rows(jsonl(tmp_path, r'{"prompt": "one", "code": "1", "note": "\ud83c"}'))
    write_rows(tmp_path / "again.jsonl", read)

    assert read_rows(tmp_path / "again.jsonl") == read == [Row("one", "1", {"note": "\ud83c"})]


@pytest.mark.parametrize(
    ("line", "kind", "says"),
    [
        ('{"prompt": "one", "code": "1"', ProblemKind.NOT_JSON, "not JSON"),
        ('{"prompt": "one", "code": "1"} {"prompt": "two", "code": "2"}', ProblemKind.NOT_JSON, "--data-binary"),
        ('{"prompt": "one", "code": "1", "n": ' + "9" * 5000 + "}", ProblemKind.NOT_JSON, "too many digits"),
        ("[" * 100_000, ProblemKind.NOT_JSON, "nested too deeply"),
        ('["one", "1"]', ProblemKind.NOT_AN_OBJECT, "not an object"),
        ('{"prompt": "one"}', ProblemKind.KEY_MISSING, "'code'"),
        ('{"prompt": null, "code": "1"}', ProblemKind.KEY_MISSING, "'prompt'"),
        ('{"prompt": "one", "code": 1}', ProblemKind.NOT_TEXT, "'code' is int"),
        ('{"prompt": " \\n\\t ", "code": "1"}', ProblemKind.BLANK, "'prompt'"),
        ('{"prompt": "one", "code": "1\\u0000"}', ProblemKind.NUL_CHARACTER, "'code'"),
        ('{"prompt": "\\ud83c", "code": "1"}', ProblemKind.INVALID_UTF8, "surrogate"),
        (b'{"prompt": "\xff", "code": "1"}', ProblemKind.INVALID_UTF8, "byte 13"),
    ],
)
def test_a_bad_line_is_one_problem_with_its_number_and_the_next_line_is_still_read(
    tmp_path: Path, line: str | bytes, kind: ProblemKind, says: str
) -> None:
    path = jsonl(tmp_path, '{"prompt": "zero", "code": "0"}', "", line, '{"prompt": "ten", "code": "10"}')

    (first, bad, last) = scan_rows(path)

    assert first == (1, Row("zero", "0"))
    assert isinstance(bad[1], RowProblem)
    assert (bad[0], bad[1].line, bad[1].kind) == (3, 3, kind)
    assert says in bad[1].message
    assert last == (4, Row("ten", "10"))


def test_a_jsonl_with_a_byte_order_mark_and_windows_line_ends_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"prompt": "one", "code": "1"}\r\n{"prompt": "two", "code": "2"}\r\n')

    assert read_rows(path) == [Row("one", "1"), Row("two", "2")]


def test_the_first_bad_row_is_named_with_its_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match=r"rows\.jsonl, line 2: .*tinygpt data check"):
        read_rows(jsonl(tmp_path, '{"prompt": "one", "code": "1"}', "{"))


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="has no rows"):
        read_rows(jsonl(tmp_path, "", "   "))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.db"])
def test_a_file_that_is_not_there_is_one_sentence_that_names_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidDataset, match=f"{name} can't be read: [Nn]o such file") as caught:
        read_rows(tmp_path / name)

    assert "\n" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_csv_with_the_wrong_header_says_what_it_has_and_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("question,code\none,1\n")

    with pytest.raises(InvalidDataset, match="columns question, code but needs prompt and code: rename or add prompt"):
        read_rows(tmp_path / "rows.csv")


def test_a_csv_in_utf16_says_that_it_must_be_utf8(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("prompt,code\none,1\n", encoding="utf-16")

    with pytest.raises(InvalidDataset, match="not UTF-8") as caught:
        read_rows(tmp_path / "rows.csv")

    assert caught.value.detail().model_dump_json()


def test_a_csv_cell_that_is_not_utf8_or_is_missing_is_a_problem_on_its_line(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"prompt,code\n\xff,1\ntwo\nthree,3,left over\n")

    found = list(scan_rows(tmp_path / "rows.csv"))

    assert [(line, row.kind if isinstance(row, RowProblem) else row) for line, row in found] == [
        (2, ProblemKind.INVALID_UTF8),
        (3, ProblemKind.KEY_MISSING),
        (4, Row("three", "3")),
    ]


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        ([], "no table"),
        (["CREATE TABLE rows (question, code)"], "needs prompt and code"),
    ],
)
def test_a_database_without_the_table_or_columns_says_so(tmp_path: Path, statements: list[str], says: str) -> None:
    with pytest.raises(InvalidDataset, match=says):
        read_rows(sqlite(tmp_path, *statements))


def test_a_folder_that_is_called_like_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.db").mkdir()

    with pytest.raises(InvalidDataset, match=r"rows\.db can't be read as SQLite"):
        read_rows(tmp_path / "rows.db")


def test_a_file_that_is_no_database_is_refused_as_one(tmp_path: Path) -> None:
    (tmp_path / "rows.db").write_text("prompt,code\n" * 100)

    with pytest.raises(InvalidDataset, match=r"rows\.db can't be read as SQLite"):
        read_rows(tmp_path / "rows.db")


def test_a_sqlite_value_that_is_not_text_is_a_problem(tmp_path: Path) -> None:
    path = sqlite(tmp_path, "CREATE TABLE rows (prompt, code)", "INSERT INTO rows VALUES ('one', 1)")

    assert only_problem(path).kind is ProblemKind.NOT_TEXT


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.jsonl", "jsonl"), ("a.NDJSON", "jsonl"), ("a.csv", "csv"), ("a.sqlite3", "sqlite"), ("a.txt", "jsonl")],
)
def test_the_name_of_a_file_tells_its_format(name: str, format: Format) -> None:
    assert format_of(Path(name)) == format


def test_a_format_that_is_given_wins_over_the_name(tmp_path: Path) -> None:
    (tmp_path / "upload.part").write_text("prompt,code\none,1\n")

    assert read_rows(tmp_path / "upload.part", "csv") == [Row("one", "1")]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=5))
def test_no_record_whatever_it_is_raises(record: object) -> None:
    for candidate in (record, {"prompt": record, "code": "1"}, {"prompt": "one", "code": "1", "more": record}):
        assert isinstance(row_from(candidate, 1), Row | RowProblem)


def test_a_full_disk_keeps_the_rows_that_were_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, ROWS)

    with full_disk(room=4096), pytest.raises(StorageFull):
        write_rows(path, [Row("one", "1" * 10_000)])

    assert read_rows(path) == ROWS


def test_a_row_is_one_line_of_json() -> None:
    line = ROWS[1].to_json()

    assert "\n" not in line
    assert json.loads(line) == {"prompt": ROWS[1].prompt, "code": ROWS[1].code, "family": "printing"}
