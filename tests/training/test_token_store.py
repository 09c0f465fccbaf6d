"""A store holds what `split_rows` and `encode_examples` make of the same rows, is written once, and whole."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.full_disk import full_disk
from tinygpt.contracts.errors import InvalidDataset, StorageFull, TrainingFailed
from tinygpt.data.examples import encode_examples
from tinygpt.data.rows import Row, read_rows, stream_rows, write_rows
from tinygpt.data.split import split_rows
from tinygpt.data.tokenizer import TokenizerKind
from tinygpt.data.tokenizer_kinds import make_tokenizer
from tinygpt.training import token_writer
from tinygpt.training.token_store import TokenStore
from tinygpt.training.token_writer import prepare_tokens

ROWS = [Row(f"add {i} to x", f"x + {i}", {"check": str(i)}) for i in range(60)]


def prepared(source: Path | list[Row], folder: Path, **changed: Any) -> TokenStore:
    return prepare_tokens(source, folder, **{"held_out_share": 0.1, "context_length": 32} | changed)


def inodes(folder: Path) -> set[int]:
    return {path.stat().st_ino for path in folder.rglob("*")}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    return tmp_path / "rows.jsonl"


# -- what it holds

some_rows = st.lists(
    st.builds(
        Row,
        st.text("aB üé", min_size=1, max_size=20).filter(str.strip),
        st.text("xyzé\n", min_size=1, max_size=9).filter(str.strip),
    ),
    max_size=60,
)


@given(some_rows, st.floats(0.01, 0.9))
def test_its_sides_are_those_of_split_rows_in_the_same_order(rows: list[Row], share: float) -> None:
    rows = [*rows, Row("one", "1"), Row("two", "2"), Row(" ONE", "1")]
    split = split_rows(rows, share)
    with tempfile.TemporaryDirectory() as folder:
        store = prepared(rows, Path(folder), held_out_share=share)

        assert read_rows(store.training_rows) == split.training
        assert read_rows(store.held_out_rows) == split.held_out


@pytest.mark.parametrize("kind", ["characters", "byte_pair"])
@pytest.mark.parametrize("context_length", [14, 18, 64], ids=lambda length: f"context {length}")
def test_its_examples_are_those_of_the_split_rows(tmp_path: Path, kind: TokenizerKind, context_length: int) -> None:
    rows = [*ROWS, *ROWS[:7], *(Row(f"größer als {i}", "ü" * i + "x") for i in range(1, 40))]
    store = prepared(rows, tmp_path, context_length=context_length, tokenizer=kind)

    split = split_rows(rows, 0.1)
    tokenizer = make_tokenizer(kind, [text for row in split.training for text in (row.prompt, row.code)])
    assert store.tokenizer == tokenizer
    assert list(store.training) == encode_examples(split.training, tokenizer, context_length)
    assert list(store.held_out) == encode_examples(split.held_out, tokenizer, context_length)
    assert store.training.lengths.tolist() == [len(example.ids) for example in store.training]
    assert store.training[-1] == store.training[len(store.training) - 1]
    assert store.training[2:4] == [store.training[2], store.training[3]]


def test_rows_that_the_context_cuts_or_has_no_room_for_are_counted(tmp_path: Path) -> None:
    long = [Row(f"long {i:02}", "x" * 40) for i in range(20)]
    full = [Row(f"long prompt without an end {i:02}" * 2, "x") for i in range(30)]
    split = split_rows([*ROWS, *long, *full], 0.1)
    store = prepared([*ROWS, *long, *full], tmp_path, context_length=32)

    assert store.rows_cut == sum(row in long for row in split.training) > 0
    assert store.rows_left_out == sum(row in full for row in split.training) > 0
    assert (prepared(ROWS, tmp_path).rows_cut, prepared(ROWS, tmp_path).rows_left_out) == (0, 0)


def test_the_vocabulary_is_of_the_training_rows_alone(tmp_path: Path) -> None:
    held_out = {row.prompt for row in split_rows(ROWS).held_out}
    rows = [Row(row.prompt, row.code + ("ж" if row.prompt in held_out else "ü")) for row in ROWS]

    assert prepared(rows, tmp_path).tokenizer == make_tokenizer("characters", ["ü"])


def test_a_repetition_of_a_row_adds_no_characters(tmp_path: Path) -> None:
    rows = [*ROWS, *(Row(f"größe {i}", "x") for i in range(20)), *(Row(f"GRÖßE {i}", "x") for i in range(20))]

    assert prepared(rows, tmp_path).tokenizer == make_tokenizer("characters", ["öß"])


@pytest.mark.parametrize(("added", "size"), [(154, 1), (155, 2)], ids=["256 tokens", "257 tokens"])
def test_a_token_takes_one_byte_while_the_vocabulary_fits_one(tmp_path: Path, added: int, size: int) -> None:
    letters = "".join(chr(0x4E00 + i) for i in range(added))  # beside 5 control tokens and 97 base characters
    rows = [Row("one", letters), Row("two", letters)]
    store = prepared(rows, tmp_path, context_length=512)

    tokens = store.training_rows.with_name("training.tokens")
    assert store.tokenizer.vocab_size == 102 + added
    assert tokens.stat().st_size == size * (len(store.training[0].ids) + 1)
    assert max(store.training[0].labels) == store.tokenizer.vocab_size - 1


def test_a_file_gives_what_the_same_rows_in_memory_give(tmp_path: Path, file: Path) -> None:
    of_file, of_rows = prepared(file, tmp_path / "a"), prepared(ROWS, tmp_path / "b")

    assert of_file.data_sha256 == of_rows.data_sha256
    assert list(of_file.training) == list(of_rows.training)


@pytest.mark.parametrize(
    ("rows", "changed"),
    [
        (ROWS[::-1], {}),
        ([Row(row.prompt, row.code.replace("x", "y")) for row in ROWS], {}),
        (ROWS, {"tokenizer": "byte_pair"}),
    ],
    ids=["order", "code", "tokenizer"],
)
def test_its_hash_tells_what_is_learned_from(tmp_path: Path, rows: list[Row], changed: dict[str, Any]) -> None:
    assert prepared(rows, tmp_path, **changed).data_sha256 != prepared(ROWS, tmp_path).data_sha256


# -- written once


def test_a_second_run_finds_it_and_writes_nothing(tmp_path: Path, file: Path) -> None:
    first = prepared(file, tmp_path / "tokens")
    before = inodes(tmp_path)

    assert prepared(file, tmp_path / "tokens").training_rows == first.training_rows
    assert inodes(tmp_path) == before


def test_a_file_whose_content_is_known_is_not_read_again(tmp_path: Path, file: Path) -> None:
    first = prepared(file, tmp_path / "tokens", source_hash="d-1")
    file.write_bytes(b"no rows")

    assert list(prepared(file, tmp_path / "tokens", source_hash="d-1").training) == list(first.training)


@pytest.mark.parametrize(
    "changed", [{"held_out_share": 0.2}, {"context_length": 33}, {"tokenizer": "byte_pair"}, {"source_hash": "d-1"}]
)
def test_what_it_is_made_from_decides_which_it_is(tmp_path: Path, file: Path, changed: dict[str, Any]) -> None:
    one, other = prepared(file, tmp_path / "tokens"), prepared(file, tmp_path / "tokens", **changed)

    assert one.training_rows != other.training_rows


def test_another_process_that_was_faster_wins(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place: Callable[[Path, Path], None] = token_writer._put_in_place

    def slower(staging: Path, target: Path) -> None:
        monkeypatch.undo()
        prepared(file, tmp_path / "tokens")
        put_in_place(staging, target)

    monkeypatch.setattr(token_writer, "_put_in_place", slower)

    assert len(prepared(file, tmp_path / "tokens").training) == 54
    assert len(list((tmp_path / "tokens").iterdir())) == 1


# -- whole or not there


def fails_after(polls: int) -> Callable[[], None]:
    left = [polls]

    def poll() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    return poll


@pytest.mark.parametrize("polls", range(3), ids=["splitting", "learning", "writing"])
def test_one_that_was_interrupted_is_not_there(tmp_path: Path, file: Path, polls: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        prepared(file, tmp_path / "tokens", tokenizer="byte_pair", poll=fails_after(polls))

    assert list((tmp_path / "tokens").iterdir()) == []
    assert len(prepared(file, tmp_path / "tokens", tokenizer="byte_pair", poll=fails_after(3)).training) == 54


@pytest.mark.parametrize(("kind", "reads"), [("characters", 2), ("byte_pair", 3)])
def test_a_file_is_read_twice_and_once_more_to_learn_byte_pairs(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, kind: TokenizerKind, reads: int
) -> None:
    read: list[Path] = []

    def stream(path: Path) -> Iterator[Row]:
        read.append(path)
        return stream_rows(path)

    monkeypatch.setattr(token_writer, "stream_rows", stream)
    prepared(file, tmp_path / "tokens", tokenizer=kind, source_hash="d-1")

    assert read == [file] * reads


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, file: Path) -> None:
    polls = iter(range(10))

    def poll() -> None:
        if next(polls) == 1:
            write_rows(file, ROWS[1:])

    with pytest.raises(InvalidDataset, match="changed while it was read"):
        prepared(file, tmp_path / "tokens", poll=poll)

    assert list((tmp_path / "tokens").iterdir()) == []


def test_it_is_renamed_not_copied_to_its_place(tmp_path: Path, file: Path) -> None:
    under_way: list[int] = []

    def poll() -> None:
        under_way.extend(path.stat().st_ino for path in tmp_path.glob("tokens/.incoming-*/.training.jsonl.*"))

    store = prepared(file, tmp_path / "tokens", poll=poll)

    assert store.training_rows.stat().st_ino in under_way


def test_a_folder_left_by_a_killed_process_is_not_used(tmp_path: Path, file: Path) -> None:
    target = prepared(file, tmp_path / "tokens").training_rows.parent
    target.rename(target.with_name(".incoming-x"))
    (target.with_name(".incoming-x") / "training.tokens").write_bytes(b"")

    assert len(prepared(file, tmp_path / "tokens").training) == 54


@pytest.mark.parametrize("room", [0, 100, 1000, 3000])
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path, file: Path, room: int) -> None:
    with full_disk(room=room), pytest.raises(StorageFull):
        prepared(file, tmp_path / "tokens")

    assert list((tmp_path / "tokens").iterdir()) == []


# -- what can't be prepared


def test_a_bad_row_is_named(tmp_path: Path, file: Path) -> None:
    with file.open("a") as lines:
        lines.write("no row\n")

    with pytest.raises(InvalidDataset, match="line 61: not JSON"):
        prepared(file, tmp_path / "tokens")


@pytest.mark.parametrize("known", [{}, {"source_hash": "d-1"}], ids=["unknown", "known"])
def test_a_missing_file_is_named_and_no_folder_is_made(tmp_path: Path, known: dict[str, str]) -> None:
    with pytest.raises(InvalidDataset, match="can't be read"):
        prepared(tmp_path / "gone" / "rows.jsonl", tmp_path / "gone" / "tokens", **known)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", [[], ROWS[:1], [Row("one", "1"), Row(" ONE ", "2")]], ids=["none", "one", "alike"])
def test_fewer_than_two_prompts_is_one_clear_error(tmp_path: Path, rows: list[Row]) -> None:
    with pytest.raises(TrainingFailed, match="fewer than two distinct prompts"):
        prepared(rows, tmp_path)


@pytest.mark.parametrize("side", ["training", "held-out"])
def test_a_side_without_a_row_that_fits_is_one_clear_error(tmp_path: Path, side: str) -> None:
    held_out = {row.prompt for row in split_rows(ROWS).held_out}
    rows = [Row(row.prompt, row.code) for row in ROWS]
    too_long = [Row(row.prompt + " " * 40, row.code) for row in ROWS]  # the same prompts once normalised
    chosen = [b if (a.prompt in held_out) == (side == "held-out") else a for a, b in zip(rows, too_long, strict=True)]

    with pytest.raises(TrainingFailed, match=f"No {side} row has code within the context of 32 tokens"):
        prepared(chosen, tmp_path)


# -- the training rows in the run's folder


def test_the_training_rows_are_kept_again_and_again_as_one_file(tmp_path: Path, file: Path) -> None:
    store = prepared(file, tmp_path / "tokens")
    for _ in range(2):
        store.keep_training_rows(tmp_path / "run" / "training_rows.jsonl")

    assert (tmp_path / "run" / "training_rows.jsonl").samefile(store.training_rows)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["training_rows.jsonl"]


@pytest.mark.parametrize("links", [True, False], ids=["another file there", "no links"])
def test_the_training_rows_are_copied_where_they_cannot_be_linked(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refused(*_args: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    store, target = prepared(file, tmp_path / "tokens"), tmp_path / "run" / "training_rows.jsonl"
    if links:
        write_rows(target, [Row("old", "1")])
    else:
        monkeypatch.setattr("os.link", refused)
    store.keep_training_rows(target)

    assert target.read_bytes() == store.training_rows.read_bytes()
    assert not target.samefile(store.training_rows)


def test_what_killed_processes_left_is_removed_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / ".incoming-old", tmp_path / ".incoming-new"
    for left in (old, new):
        left.mkdir()
        (left / "training.tokens").write_bytes(b"1")
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))

    prepared(ROWS, tmp_path)

    assert (old.exists(), new.exists()) == (False, True)
