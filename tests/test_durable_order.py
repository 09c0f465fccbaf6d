"""The order in which a whole file reaches the disk: its content, then its name, then the folder that has the name."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from tinygpt.data.rows import Row, write_rows
from tinygpt.data.tokenizer import CharacterTokenizer
from tinygpt.durable import open_whole, sync_folder, write_whole
from tinygpt.model.checkpoint import Checkpoint, save_checkpoint
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT


class Disk:
    """Writes down every fsync, with what the file holds by then, and every rename."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, object]] = []
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._synced(getattr(os, name)))
        for name in ("replace", "rename"):
            monkeypatch.setattr(os, name, self._renamed(getattr(os, name)))

    def _synced(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            real(descriptor)
            found = os.fstat(descriptor)
            folder = stat.S_ISDIR(found.st_mode)
            self.events.append(("folder", found.st_ino) if folder else ("file", found.st_size))

        return sync

    def _renamed(self, real: Callable[[object, object], None]) -> Callable[[object, object], None]:
        def rename(source: object, target: object) -> None:
            real(source, target)
            self.events.append(("rename", Path(str(target)).name))

        return rename


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.mark.parametrize("content", ["", "short", "x" * 1_000_000])
def test_content_is_synced_then_renamed_then_its_folder_is_synced(tmp_path: Path, disk: Disk, content: str) -> None:
    write_whole(tmp_path / "file", content)

    assert disk.events == [("file", len(content)), ("rename", "file"), ("folder", tmp_path.stat().st_ino)]


def test_an_unfinished_file_lies_hidden_beside_its_target(tmp_path: Path) -> None:
    """A rename is one step within a file system only, and whoever lists the folder can tell such files."""
    with open_whole(tmp_path / "file") as file:
        file.write(b"half")
        (unfinished,) = tmp_path.iterdir()

    assert unfinished.name.startswith(".file.")
    assert unfinished.name.endswith(".part")


def test_nothing_is_renamed_if_the_content_could_not_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "file", "old")

    def broken(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        write_whole(tmp_path / "file", "new")

    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_synced_by_its_own_descriptor_and_closed(tmp_path: Path, disk: Disk) -> None:
    descriptors = psutil.Process().num_fds()
    sync_folder(tmp_path)

    assert disk.events == [("folder", tmp_path.stat().st_ino)]
    assert psutil.Process().num_fds() == descriptors


def _checkpoint(path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = CharacterTokenizer.from_corpus(["a"])
    config = ModelConfig(vocab_size=tokenizer.vocab_size, context_length=8, layers=1, heads=1, width=8)
    save_checkpoint(Checkpoint(TinyGPT(config), tokenizer), path)


def _rows(path: Path) -> None:
    write_rows(path, [Row("p", "c")])


def _whole(path: Path) -> None:
    with open_whole(path) as file:
        file.write(b"new")


@pytest.mark.parametrize("write", [_whole, _rows, _checkpoint])
def test_who_has_the_old_file_open_reads_all_of_it(tmp_path: Path, disk: Disk, write: Callable[[Path], None]) -> None:
    """Nothing is written in place."""
    path = tmp_path / "file"
    path.write_text("old, and longer than what comes")
    with path.open() as reader:
        write(path)

        assert reader.read() == "old, and longer than what comes"
    assert path.stat().st_size > 0
    assert [kind for kind, _ in disk.events] == ["file", "rename", "folder"]
