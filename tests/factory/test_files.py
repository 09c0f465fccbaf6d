"""What the factory writes: rows, held-out rows and the file that pins them, or the pinned rows alone."""

import gc
import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tinygpt.data.bundled import read_pin
from tinygpt.data.rows import read_rows
from tinygpt.durable import sha256_of
from tinygpt_factory.__main__ import app
from tinygpt_factory.bundle import BEGINNER_FILE, CURATED_FILE, EVERYDAY_FILE
from tinygpt_factory.families import all_families

DATA = Path(__file__).resolve().parents[2] / "data"
GROWN = ["bundled.json", "held_out.jsonl", "train.jsonl"]


@pytest.fixture(autouse=True)
def this_process() -> Iterator[None]:
    """What the command changes for its own process is put back."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    gc.enable()
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (CURATED_FILE, BEGINNER_FILE, EVERYDAY_FILE):
        (tmp_path / name).write_bytes((DATA / name).read_bytes())
    return tmp_path


def run(folder: Path, *options: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["--rows", "1000", "--processes", "1", "--out", str(folder), *options])
    return result.exit_code, result.stdout, result.stderr


def grown(folder: Path) -> list[str]:
    return sorted(
        path.name for path in folder.iterdir() if path.name not in (CURATED_FILE, BEGINNER_FILE, EVERYDAY_FILE)
    )


def test_a_build_writes_the_rows_and_pins_them(folder: Path) -> None:
    code, output, _ = run(folder, "--check")

    assert code == 0
    assert grown(folder) == GROWN
    for name in ("train.jsonl", "held_out.jsonl"):
        assert f"{name}: {len(read_rows(folder / name)):,} rows" in output
    pin = read_pin(folder)
    assert (pin.rows, pin.seed) == (1000, 0)
    for pinned, name in ((pin.datasets["bundled"], "train.jsonl"), (pin.datasets["curated"], CURATED_FILE)):
        assert pinned.sha256 == sha256_of(folder / name)
        assert pinned.size_bytes == (folder / name).stat().st_size
        assert pinned.statistics.rows == len(read_rows(folder / name))


def test_rows_have_the_keys_that_readers_expect(folder: Path) -> None:
    run(folder)

    keys = {name: {tuple(json.loads(line)) for line in (folder / name).open()} for name in GROWN[1:]}
    assert keys["train.jsonl"] == {("prompt", "code", "family")}
    assert {frozenset(row) for row in keys["held_out.jsonl"]} == {
        frozenset({"prompt", "code", "family", "check", "split"})
    }


def test_a_wrong_family_stops_a_checked_build_and_nothing_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = replace(all_families()[0], check="assert False")
    monkeypatch.setattr("tinygpt_factory.build.all_families", lambda: (wrong, *all_families()[1:]))
    code, _, error = run(folder, "--check")

    assert code == 1
    assert error.startswith(f"tinygpt: {wrong.name}: the check fails")
    assert grown(folder) == []


def test_pinned_rows_are_grown_again_byte_for_byte(folder: Path) -> None:
    run(folder, "--rows", "1200", "--seed", "3")
    before = (folder / "train.jsonl").read_bytes()
    (folder / "train.jsonl").unlink()
    code, output, error = run(folder, "--pinned")

    assert (code, error) == (0, "")
    assert output.startswith(f"{folder / 'train.jsonl'}: ")
    assert (folder / "train.jsonl").read_bytes() == before
    assert grown(folder) == GROWN


@pytest.mark.parametrize("file", ["held_out.jsonl", "train.jsonl"])
def test_rows_other_than_the_pinned_name_both_hashes_and_replace_nothing(folder: Path, file: str) -> None:
    run(folder)
    pin = read_pin(folder)
    grown_hash, pinned_hash = sha256_of(folder / file), "0" * 64
    if file == "train.jsonl":
        pin.datasets["bundled"].sha256 = pinned_hash
        (folder / "bundled.json").write_text(pin.model_dump_json())
    else:
        (folder / file).write_text("other rows")
        pinned_hash = sha256_of(folder / file)
    before = {name: (folder / name).read_bytes() for name in GROWN}
    code, _, error = run(folder, "--pinned")

    assert code == 1
    assert all(named in error for named in (file, grown_hash, pinned_hash))
    assert "`tinygpt data build` pins" in error
    assert {name: (folder / name).read_bytes() for name in GROWN} == before


def test_a_missing_input_is_one_sentence(folder: Path) -> None:
    (folder / BEGINNER_FILE).unlink()
    code, _, error = run(folder)

    assert code == 1
    assert error == f"tinygpt: {folder / BEGINNER_FILE} can't be read: No such file or directory.\n"
    assert grown(folder) == []
