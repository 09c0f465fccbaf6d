"""The audit hook alone: what it refuses inside the interpreter, and what it lets through."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evaluation.one_layer import close_all, passes, reason_of

UNPRIVILEGED = 65533
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's layers")


@pytest.fixture(scope="module", autouse=True)
def _close() -> Iterator[None]:
    yield
    close_all()


# -- the audit hook


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        ("import os\nos.fork()", "os.fork"),
        ("import os\nos.system('true')", "os.system"),
        ("import os\nos.execv('/bin/true', ['true'])", "os.exec"),
        ("import os\nos.posix_spawn('/bin/true', ['true'], {})", "os.posix_spawn"),
        ("import os\nos.kill(1, 0)", "os.kill"),
        ("import os\nos.killpg(1, 0)", "os.killpg"),
        ("import subprocess\nsubprocess.run(['true'])", "subprocess.Popen"),
        ("import socket\nsocket.socket()", "socket.__new__"),
        ("import urllib.request\nurllib.request.urlopen('http://x')", "urllib.Request"),
        ("import sys\nsys._getframe()", "sys._getframe"),
        ("import sys\nsys._current_frames()", "sys._current_frames"),
        ("import sys\nsys.settrace(print)", "sys.settrace"),
        ("import sys\nsys.setprofile(print)", "sys.setprofile"),
        ("(lambda: 0).__code__.replace()", "code.__new__"),
        ("import resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))", "resource.setrlimit"),
        ("import sqlite3\nsqlite3.connect('/tmp/x')", "sqlite3.connect"),
        ("try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    e.__traceback__.tb_frame", "tb_frame"),
        ("(i for i in ()).gi_frame", "gi_frame"),
        ("import gc", "the module gc"),
        ("import ctypes", "the module ctypes"),
        ("import signal", "the module signal"),
        ("import tinygpt.durable", "the module tinygpt.durable"),
        ("import importlib\nimportlib.import_module('ctypes.util')", "the module"),
    ],
)
def test_the_audit_hook_alone_refuses_what_reaches_out(code: str, refused: str) -> None:
    assert reason_of("audit", code).startswith(f"Refused: {refused}")


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("open(P)", "reading"),
        ("open(P, 'w')", "writing"),
        ("open(P, 'a')", "writing"),
        ("open(P, 'r+')", "writing"),
        ("os.open(P, os.O_RDONLY | os.O_CREAT)", "writing"),
        ("os.listdir(os.path.dirname(P))", "reading"),
        ("os.scandir(os.path.dirname(P))", "reading"),
        ("os.chdir(os.path.dirname(P))", "reading"),
        ("os.remove(P)", "writing"),
        ("os.rename(P, 'x')", "writing"),
        ("os.rename('own', P)", "writing"),
        ("os.mkdir(P + 'x')", "writing"),
        ("os.rmdir(P)", "writing"),
        ("os.link(P, 'x')", "writing"),
        ("os.link('own', P + 'x')", "writing"),
        ("os.symlink('own', P + 'x')", "writing"),
        ("os.truncate(P, 0)", "writing"),
        ("os.chmod(P, 0o777)", "writing"),
        ("os.chown(P, 1, 1)", "writing"),
        ("os.utime(P)", "writing"),
        ("os.setxattr(P, 'user.x', b'x')", "writing"),
        ("os.symlink(P, 'link'); open('link')", "reading"),
        ("open(P + '/../victim')", "reading"),
        ("open('../victim')", "reading"),
    ],
)
def test_the_audit_hook_alone_keeps_files_outside_from_being_touched(tmp_path: Path, call: str, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    code = f"import os\nP = {str(victim)!r}\nopen('own', 'w').close()\n{call}"

    assert reason_of("audit", code).startswith(f"Refused: {kind} outside the working folder is not allowed")
    assert victim.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [victim]


def test_the_audit_hook_alone_lets_the_folder_and_the_library_be_read() -> None:
    passes(
        "audit",
        "import os, colorsys\nopen('a', 'w').write('x')\nos.mkdir('d')\nos.rename('a', 'd/a')\n"
        "assert os.listdir('d') == ['a']\nopen(colorsys.__file__).read()\nopen('/dev/null', 'w').write('x')\n"
        "assert os.path.realpath(os.getcwd() + '/d/a')",
    )
