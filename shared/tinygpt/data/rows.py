"""Rows of `{"prompt", "code"}`, read one by one from JSONL, CSV or SQLite. Further keys are kept."""

import contextlib
import csv
import hashlib
import io
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

from tinygpt.contracts.datasets import ProblemKind, RowProblem
from tinygpt.contracts.errors import InvalidDataset
from tinygpt.durable import open_whole

TextFormat = Literal["jsonl", "csv"]
Format = Literal[TextFormat, "sqlite"]
_LONGEST_SQLITE_VALUE = 1_000_000
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")
_TO_JSON = json.JSONEncoder(ensure_ascii=False, default=bytes.hex).encode
REQUIRED_KEYS = ("prompt", "code")
_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".db": "sqlite",
}


@dataclass(frozen=True)
class Row:
    """One prompt and the code that answers it."""

    prompt: str
    code: str
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line of JSONL. Of the further keys, a SQLite BLOB becomes its hexadecimal digits, and half a surrogate
        pair, which UTF-8 has no bytes for, the JSON escape that stands for it."""
        text = _TO_JSON({"prompt": self.prompt, "code": self.code, **self.extra})
        return text.encode(errors="backslashreplace").decode()


ScannedRow = tuple[int, Row | RowProblem]
"""A row with its line number, or what is wrong with it."""


def evenly_spaced(rows: Sequence[Row], number: int) -> Sequence[Row]:
    """That number of rows at even distances, or all rows if there are fewer."""
    return rows if len(rows) <= number else [rows[i * len(rows) // number] for i in range(number)]


def format_of(path: Path) -> Format:
    """The format that a file's suffix stands for; JSONL if it is unknown."""
    return _SUFFIXES.get(path.suffix.lower(), "jsonl")


def scan_rows(path: Path, format: Format | None = None) -> Iterator[ScannedRow]:
    """Every row of a file with its line number (SQLite: its position).

    Raises:
        InvalidDataset: the file as a whole can't be read (missing, no such table, no such column).
    """
    try:
        match format or format_of(path):
            case "sqlite":
                yield from _scan_sqlite(path)
            case text_format:
                with path.open("rb") as file:
                    yield from scan_text(file, text_format, path.name)
    except OSError as error:
        raise InvalidDataset(f"{path} can't be read: {error.strerror}.") from error


def scan_text(file: BinaryIO, format: TextFormat, name: str) -> Iterator[ScannedRow]:
    """`scan_rows` of a file that is open and called `name`. It is read once, from its beginning to its end."""
    return _scan_jsonl(file) if format == "jsonl" else _scan_csv(file, name)


def stream_rows(path: Path, format: Format | None = None) -> Iterator[Row]:
    """The rows of a file, one by one. Raises `InvalidDataset` on the first bad row, and if there are no rows."""
    empty = True
    for line, row in scan_rows(path, format):
        if isinstance(row, RowProblem):
            raise InvalidDataset(f"{path.name}, line {line}: {row.message} `tinygpt data check` lists the bad rows.")
        empty = False
        yield row
    if empty:
        raise InvalidDataset(f"{path.name} has no rows: give it at least two prompts with their code.")


def read_rows(path: Path, format: Format | None = None) -> list[Row]:
    """All rows of a file at once; raises what `stream_rows` does."""
    return list(stream_rows(path, format))


def write_rows(path: Path, rows: Iterable[Row]) -> str:
    """Write rows as JSONL, whole or not at all. Returns the file's SHA-256. Raises `StorageFull`."""
    digest = hashlib.sha256()
    with open_whole(path) as file:
        for row in rows:
            line = row.to_json().encode() + b"\n"
            digest.update(line)
            file.write(line)
    return digest.hexdigest()


def _scan_jsonl(file: BinaryIO) -> Iterator[ScannedRow]:
    for line, raw in enumerate(file, start=1):
        if not raw.strip():
            continue
        try:
            text = raw.decode("utf-8-sig" if line == 1 else "utf-8")
        except UnicodeDecodeError as error:
            yield line, _problem(line, ProblemKind.INVALID_UTF8, f"not UTF-8 text (byte {error.start + 1}).")
            continue
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            reason = _why_not_json(error)
            hint = " (two rows on one line? send files with curl's --data-binary)" if "Extra" in reason else ""
            yield line, _problem(line, ProblemKind.NOT_JSON, f"not JSON: {reason}{hint}.")
            continue
        yield line, row_from(record, line)


def _why_not_json(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "nested too deeply" if isinstance(error, RecursionError) else "a number with too many digits"


def _scan_csv(file: BinaryIO, name: str) -> Iterator[ScannedRow]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.DictReader(text)
    try:
        header = reader.fieldnames or []
        if not _is_utf8(header):
            raise InvalidDataset(f"{name}: the header is not UTF-8 text: save the file as UTF-8.")
        _require_columns(name, "header", header)
        for record in reader:
            record.pop(None, None)  # cells beyond the header
            if _is_utf8(value or "" for value in record.values()):
                yield reader.line_num, row_from(record, reader.line_num)
            else:
                yield reader.line_num, _problem(reader.line_num, ProblemKind.INVALID_UTF8, "not UTF-8 text.")
    except csv.Error as error:
        raise InvalidDataset(f"{name}, line {reader.line_num}: not CSV: {error}.") from error


def _is_utf8(cells: Iterable[str]) -> bool:
    """Whether none of the cells holds what `surrogateescape` puts in place of a byte that is not UTF-8."""
    return not any("\udc80" <= character <= "\udcff" for cell in cells for character in cell)


def _scan_sqlite(path: Path) -> Iterator[ScannedRow]:
    if not path.exists():
        raise FileNotFoundError(2, "no such file")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            # A schema comes from the file's author: it may not call functions of its own, nor make giants of a small
            # file.
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_SQLITE_VALUE)
            connection.execute("PRAGMA trusted_schema = OFF")
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            if not tables:
                raise InvalidDataset(
                    f"{path.name} has no table: give it a table `rows` with the columns prompt and code."
                )
            table = "rows" if "rows" in tables else tables[0]
            cursor = connection.execute(f'SELECT * FROM "{table.replace(chr(34), chr(34) * 2)}"')
            _require_columns(path.name, f"table {table!r}", [column[0] for column in cursor.description])
            for position, record in enumerate(cursor, start=1):
                yield position, row_from(dict(record), position)
    except sqlite3.DatabaseError as error:
        raise InvalidDataset(f"{path.name} can't be read as SQLite: {error}.") from error


def _require_columns(name: str, where: str, columns: Iterable[str]) -> None:
    columns = list(columns)
    missing = [key for key in REQUIRED_KEYS if key not in columns]
    if missing:
        raise InvalidDataset(
            f"{name}: the {where} has the columns {', '.join(columns) or '(none)'} but needs prompt and code: "
            f"rename or add {' and '.join(missing)}."
        )


def row_from(record: object, line: int) -> Row | RowProblem:
    """A row from a parsed record, or what is wrong with it."""
    if not isinstance(record, dict):
        return _problem(
            line, ProblemKind.NOT_AN_OBJECT, 'not an object: a row looks like {"prompt": "…", "code": "…"}.'
        )
    for key in REQUIRED_KEYS:
        if key not in record or record[key] is None:
            return _problem(line, ProblemKind.KEY_MISSING, f"the key {key!r} is missing.")
        if not isinstance(record[key], str):
            return _problem(line, ProblemKind.NOT_TEXT, f"{key!r} is {type(record[key]).__name__}, not text.")
        if not record[key].strip():
            return _problem(line, ProblemKind.BLANK, f"{key!r} is blank.")
        if "\0" in record[key]:
            return _problem(line, ProblemKind.NUL_CHARACTER, f"{key!r} has a NUL character.")
        if not record[key].isascii() and _HALF_A_PAIR.search(record[key]):
            return _problem(line, ProblemKind.INVALID_UTF8, f"{key!r} has half a surrogate pair, which is not text.")
    extra = {key: value for key, value in record.items() if key not in REQUIRED_KEYS}
    return Row(prompt=record["prompt"], code=record["code"], extra=extra)


def _problem(line: int, kind: ProblemKind, message: str) -> RowProblem:
    return RowProblem(line=line, kind=kind, message=message)
