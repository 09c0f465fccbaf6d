"""The bundled datasets: known by their pinned hashes, grown when missing, and refused when they are others."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tinygpt.contracts.errors import InvalidDataset
from tinygpt.data import bundled, factory
from tinygpt.data.bundled import bundled_card, bundled_rows, held_out_rows, read_pin
from tinygpt.data.rows import read_rows, stream_rows, write_rows
from tinygpt.data.store import rows_of, store_dataset
from tinygpt.durable import sha256_of

DATA = Path(__file__).resolve().parents[2] / "data"
ROWS = b'{"prompt": "one", "code": "1"}\n{"prompt": "two", "code": "2"}\n'
PROGRAM = """
import sys
from pathlib import Path
from tinygpt.data import bundled
bundled._folder = lambda: Path(sys.argv[1])
print(bundled.bundled_rows("bundled"))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of bundled files in place of the checkout's, of which `train.jsonl` is not grown yet."""
    for name in ("curated.jsonl", "held_out.jsonl"):
        (tmp_path / name).write_bytes((DATA / name).read_bytes())
    pin = read_pin(DATA)
    (tmp_path / "rows").write_bytes(ROWS)
    pin.datasets["bundled"].sha256 = sha256_of(tmp_path / "rows")
    pin.datasets["bundled"].size_bytes = len(ROWS)
    (tmp_path / "bundled.json").write_text(pin.model_dump_json())
    monkeypatch.setattr(bundled, "_folder", lambda: tmp_path)
    bundled._pin.cache_clear()
    yield tmp_path
    bundled._pin.cache_clear()


def grows(monkeypatch: pytest.MonkeyPatch, content: bytes = ROWS) -> list[Path]:
    """Let the factory write this content. Returns the folders that it was asked for."""
    asked: list[Path] = []

    def grow(folder: Path, _poll: object) -> None:
        asked.append(folder)
        (folder / "train.jsonl").write_bytes(content)

    monkeypatch.setattr(factory, "grow", grow)
    return asked


# -- known by their hashes


@pytest.mark.parametrize("name", ["bundled", "curated"])
def test_a_card_is_found_by_name_and_by_id(name: str) -> None:
    card = bundled_card(name)

    assert card is not None
    assert bundled_card(card.dataset_id) == card
    assert card.name == name
    assert card.report.ok
    assert bundled_card("d-0123456789abcdef") is None


def test_the_rows_written_by_hand_are_the_pinned_ones() -> None:
    card = bundled_card("curated")

    assert card is not None
    assert bundled_rows("curated") == bundled_rows(card.dataset_id) == DATA / "curated.jsonl"
    assert card.report.statistics.rows == len(read_rows(DATA / "curated.jsonl"))
    assert held_out_rows() == DATA / "held_out.jsonl"


def test_the_id_is_the_one_that_the_same_rows_have_as_a_stored_dataset(tmp_path: Path) -> None:
    write_rows(tmp_path / "copy.jsonl", stream_rows(DATA / "curated.jsonl"))

    card = store_dataset(tmp_path / "datasets", tmp_path / "copy.jsonl", name="copy")

    assert card.dataset_id == f"d-{sha256_of(tmp_path / 'copy.jsonl')[:16]}"
    assert bundled_card(card.dataset_id) == bundled_card("curated")


def test_bundled_rows_that_are_uploaded_are_not_stored_again(tmp_path: Path) -> None:
    store_dataset(tmp_path, DATA / "curated.jsonl", name="mine")

    assert list(tmp_path.iterdir()) == []


def test_a_card_needs_no_rows(folder: Path) -> None:
    assert bundled_card("bundled") is not None
    assert not (folder / "train.jsonl").exists()


# -- from an id to the rows


def test_rows_that_an_older_version_stored_are_read_where_they_lie(tmp_path: Path) -> None:
    card = bundled_card("curated")
    assert card is not None
    assert rows_of(tmp_path, card.dataset_id) == DATA / "curated.jsonl"

    write_rows(tmp_path / card.dataset_id / "rows.jsonl", stream_rows(DATA / "curated.jsonl"))
    assert rows_of(tmp_path, card.dataset_id) == tmp_path / card.dataset_id / "rows.jsonl"


def test_rows_of_an_unknown_id_are_looked_for_on_the_volume(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "d-0123456789abcdef") == tmp_path / "d-0123456789abcdef" / "rows.jsonl"


# -- grown when missing


def test_missing_rows_are_grown_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = grows(monkeypatch)

    assert bundled_rows("bundled") == bundled_rows("bundled") == folder / "train.jsonl"
    assert asked == [folder]


def test_who_waits_for_another_process_finds_its_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, polled = grows(monkeypatch), threading.Event()
    other = os.open(folder, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    found: list[Path] = []
    waiting = threading.Thread(target=lambda: found.append(bundled_rows("bundled", poll=polled.set)))
    waiting.start()
    assert polled.wait(10)  # so that a lease, say, is kept while one waits
    (folder / "train.jsonl").write_bytes(ROWS)
    os.close(other)
    waiting.join(10)

    assert found == [folder / "train.jsonl"]
    assert asked == []


def test_two_processes_at_once_grow_the_pinned_rows_once(tmp_path: Path) -> None:
    for name in ("curated.jsonl", "beginner.jsonl", "everyday.jsonl"):
        (tmp_path / name).write_bytes((DATA / name).read_bytes())
    factory.run_factory(["--rows", "1000", "--out", str(tmp_path)])
    (tmp_path / "train.jsonl").unlink()

    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=100)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert sum("growing the bundled rows" in output for output in outputs) == 1
    assert all(output.endswith(f"{tmp_path / 'train.jsonl'}\n") for output in outputs)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "beginner.jsonl", "bundled.json", "curated.jsonl", "everyday.jsonl", "held_out.jsonl", "train.jsonl",
    ]  # fmt: skip


def test_what_waits_for_the_rows_may_stop_and_the_factory_stops_too(tmp_path: Path) -> None:
    for name in ("curated.jsonl", "beginner.jsonl", "everyday.jsonl", "bundled.json", "held_out.jsonl"):
        (tmp_path / name).write_bytes((DATA / name).read_bytes())

    def stop() -> None:
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        factory.grow(tmp_path, stop)
    assert time.monotonic() - started < 10
    assert not (tmp_path / "train.jsonl").exists()


# -- refused


@pytest.mark.parametrize("found", [b"other rows", ROWS.replace(b"1", b"3")], ids=["size", "content"])
def test_rows_that_are_not_the_pinned_ones_name_both_hashes(folder: Path, found: bytes) -> None:
    (folder / "train.jsonl").write_bytes(found)
    with pytest.raises(InvalidDataset) as refusal:
        bundled_rows("bundled")

    message = refusal.value.message
    assert sha256_of(folder / "train.jsonl") in message
    assert sha256_of(folder / "rows") in message
    assert "`tinygpt data grow` restores" in message


@pytest.mark.parametrize("found", [None, b"other rows"], ids=["missing", "others"])
def test_grow_puts_the_pinned_rows_in_place(folder: Path, monkeypatch: pytest.MonkeyPatch, found: bytes | None) -> None:
    asked = grows(monkeypatch)
    if found is not None:
        (folder / "train.jsonl").write_bytes(found)

    assert bundled.grow_bundled_rows() == bundled.grow_bundled_rows() == folder / "train.jsonl"
    assert (folder / "train.jsonl").read_bytes() == ROWS
    assert asked == [folder]


def test_without_the_factory_missing_rows_are_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "_PACKAGE", "no_such_factory")
    with pytest.raises(InvalidDataset, match="The data factory is not installed here"):
        bundled_rows("bundled")


def test_what_the_factory_complains_of_is_passed_on(folder: Path) -> None:
    (folder / "curated.jsonl").unlink()
    with pytest.raises(InvalidDataset, match=r"could not be grown: .*curated.jsonl can't be read"):
        bundled_rows("bundled")
