"""Files that are whole or not there."""

import errno
import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.full_disk import full_disk
from tinygpt.contracts.errors import StorageFull
from tinygpt.durable import open_whole, sha256_of, storage_errors, write_whole


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_as_utf8_and_bytes_as_they_are(tmp_path: Path) -> None:
    write_whole(tmp_path / "text", "höhe 🎉\n")
    write_whole(tmp_path / "bytes", b"\x00\xff")

    assert (tmp_path / "text").read_bytes() == "höhe 🎉\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    write_whole(tmp_path / "runs" / "r-1" / "events.jsonl", "{}")

    assert (tmp_path / "runs" / "r-1" / "events.jsonl").read_text() == "{}"


def test_a_new_file_replaces_the_old_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "old, and longer")
    write_whole(tmp_path / "file", "new")

    assert (tmp_path / "file").read_text() == "new"
    assert names_in(tmp_path) == ["file"]


def test_other_users_may_read_the_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "x")

    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_whole(target, "old")
    with open_whole(target) as file:
        file.write(b"half of the new")
        file.flush()
        seen = target.read_text()

    assert seen == "old"
    assert target.read_text() == "half of the new"


def test_the_target_is_left_as_it_was_when_the_body_raises(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "old")

    with pytest.raises(TypeError), open_whole(tmp_path / "file") as file:
        file.writelines([b"new", "no bytes"])  # type: ignore[list-item]

    assert (tmp_path / "file").read_text() == "old"
    assert names_in(tmp_path) == ["file"]


def test_a_process_killed_in_mid_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "old")
    program = (
        "import os, signal, sys; from pathlib import Path; from tinygpt.durable import open_whole\n"
        "with open_whole(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )

    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path / "file")], check=False, timeout=60)

    assert ended.returncode == -signal.SIGKILL
    assert (tmp_path / "file").read_text() == "old"


def test_a_full_disk_is_one_sentence_that_names_the_file_and_the_folder(tmp_path: Path) -> None:
    target = tmp_path / "best.pt"
    write_whole(target, "old")

    with full_disk(room=4096), pytest.raises(StorageFull) as caught:
        write_whole(target, b"x" * 10_000)

    assert "best.pt" in caught.value.message
    assert str(tmp_path) in caught.value.message
    assert "\n" not in caught.value.message
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["best.pt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_way_to_be_out_of_room_is_storage_full(number: int, tmp_path: Path) -> None:
    with pytest.raises(StorageFull), storage_errors(tmp_path / "file"):
        raise OSError(number, "no room")


def test_other_os_errors_pass_through(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "folder", "x")

    assert names_in(tmp_path) == ["folder"]


def test_sha256_is_that_of_the_content(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)

    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()
