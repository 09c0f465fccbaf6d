"""Stored datasets: named by their content, written once, never half there."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.full_disk import full_disk
from tinygpt.contracts.errors import InvalidDataset, StorageFull
from tinygpt.data.bundled import bundled_rows
from tinygpt.data.rows import Row, read_rows, row_from, write_rows
from tinygpt.data.store import store_dataset

ROWS = [Row("one", "1"), Row("two", "2", {"family": "numbers"})]


def source(folder: Path, rows: list[Row]) -> Path:
    write_rows(folder / "upload.jsonl", rows)
    return folder / "upload.jsonl"


def test_a_stored_dataset_has_its_rows_and_its_card(tmp_path: Path) -> None:
    card = store_dataset(tmp_path / "datasets", source(tmp_path, ROWS), name="mine")

    folder = tmp_path / "datasets" / card.dataset_id
    assert read_rows(folder / "rows.jsonl") == ROWS
    assert json.loads((folder / "card.json").read_text()) == card.model_dump(mode="json")
    assert (card.name, card.size_bytes, card.report.statistics.rows) == (
        "mine",
        (folder / "rows.jsonl").stat().st_size,
        2,
    )
    assert sorted(path.name for path in (tmp_path / "datasets").iterdir()) == [card.dataset_id]


def test_the_same_rows_from_another_format_are_the_dataset_already_stored(tmp_path: Path) -> None:
    first = store_dataset(tmp_path / "datasets", source(tmp_path, ROWS[:1]), name="first")
    (tmp_path / "rows.csv").write_text("code,prompt\n1,one\n")
    again = store_dataset(tmp_path / "datasets", tmp_path / "rows.csv", name="second")

    assert again == first
    assert len(list((tmp_path / "datasets").iterdir())) == 1


def test_other_rows_have_another_id(tmp_path: Path) -> None:
    first = store_dataset(tmp_path / "datasets", source(tmp_path, ROWS), name="a")
    second = store_dataset(tmp_path / "datasets", source(tmp_path, ROWS[::-1]), name="b")

    assert first.dataset_id != second.dataset_id


def test_the_same_rows_stored_by_many_at_once_are_one_dataset(tmp_path: Path) -> None:
    path = source(tmp_path, ROWS)
    with ThreadPoolExecutor(8) as pool:
        cards = list(pool.map(lambda i: store_dataset(tmp_path / "datasets", path, name=str(i)), range(32)))

    assert len({card.model_dump_json() for card in cards}) == 1
    assert [folder.name for folder in (tmp_path / "datasets").iterdir()] == [cards[0].dataset_id]


def test_a_bad_row_refuses_the_file_and_nothing_is_stored(tmp_path: Path) -> None:
    path = source(tmp_path, ROWS)
    path.write_text(path.read_text() + "{\n")

    with pytest.raises(InvalidDataset, match="Line 3: not JSON") as caught:
        store_dataset(tmp_path / "datasets", path, name="mine")

    assert caught.value.extra["report"]["errors"] == 1
    assert list((tmp_path / "datasets").iterdir()) == []


def test_a_refusal_counts_the_bad_rows_and_names_the_first(tmp_path: Path) -> None:
    path = source(tmp_path, [Row("one", "1"), Row("one", "1")])
    path.write_text(path.read_text() + "{\n[]\n")

    with pytest.raises(InvalidDataset, match="2 rows are bad, so nothing was stored; the first is line 3"):
        store_dataset(tmp_path / "datasets", path, name="mine")


def test_a_bad_row_after_many_warnings_is_named(tmp_path: Path) -> None:
    path = source(tmp_path, [Row("one", "1")] * 150)
    path.write_text(path.read_text() + "{\n")

    with pytest.raises(InvalidDataset, match="Line 151: not JSON"):
        store_dataset(tmp_path / "datasets", path, name="mine")


def test_the_good_rows_are_kept_when_bad_ones_may_be_skipped(tmp_path: Path) -> None:
    path = source(tmp_path, [*ROWS, Row("long", "x" * 600)])
    path.write_text("{\n" + path.read_text())

    card = store_dataset(tmp_path / "datasets", path, name="mine", skip_bad_rows=True)

    assert read_rows(tmp_path / "datasets" / card.dataset_id / "rows.jsonl") == ROWS
    assert card.report.errors == 2


def test_a_file_without_one_good_row_is_refused_even_then(tmp_path: Path) -> None:
    (tmp_path / "upload.jsonl").write_text("{\n")

    with pytest.raises(InvalidDataset):
        store_dataset(tmp_path / "datasets", tmp_path / "upload.jsonl", name="mine", skip_bad_rows=True)


def test_a_full_disk_is_one_clear_error_and_what_is_stored_stays(tmp_path: Path) -> None:
    stored = store_dataset(tmp_path / "datasets", source(tmp_path, ROWS), name="first")
    path = source(tmp_path, [Row(f"number {i}", "1" * 200) for i in range(100)])

    with full_disk(room=4096), pytest.raises(StorageFull):
        store_dataset(tmp_path / "datasets", path, name="second")

    assert [folder.name for folder in (tmp_path / "datasets").iterdir()] == [stored.dataset_id]
    assert read_rows(tmp_path / "datasets" / stored.dataset_id / "rows.jsonl") == ROWS


def test_a_database_with_blobs_is_stored(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "rows.db")
    connection.execute("CREATE TABLE rows (prompt, code, embedding)")
    connection.execute("INSERT INTO rows VALUES ('one', '1', x'00ff')")
    connection.commit()
    connection.close()

    card = store_dataset(tmp_path / "datasets", tmp_path / "rows.db", name="mine")

    assert read_rows(tmp_path / "datasets" / card.dataset_id / "rows.jsonl") == [Row("one", "1", {"embedding": "00ff"})]


def test_the_bundled_dataset_is_there() -> None:
    first = bundled_rows("curated").read_text(encoding="utf-8").partition("\n")[0]

    assert isinstance(row_from(json.loads(first), 1), Row)
