"""Each layer of the jail alone: what it stops by itself, told apart by the reason that only it gives.

The modules that attacks need are loaded by the helper, so that an import which fails can't stand in for a layer.
"""

import ctypes
import os
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evaluation.one_layer import RUN, alone, close_all, machine_has, passes, reason_of
from tinygpt.evaluation.jail.cell import LAYERS
from tinygpt.evaluation.limits import MEGABYTE, Limits
from tinygpt.evaluation.sandbox import Sandbox

UNPRIVILEGED = 65533
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's layers")


@pytest.fixture(scope="module", autouse=True)
def _close() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture
def host() -> Iterator[socket.socket]:
    """A server on this machine's loopback, which nobody may reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server
        with pytest.raises(TimeoutError):
            server.accept()


def connecting_to(host: socket.socket) -> str:
    address = host.getsockname()
    return f"import socket\ns = socket.socket()\ns.settimeout(2)\ns.connect({address!r})"


def test_a_sandbox_has_every_layer_that_themachine_has() -> None:
    with Sandbox(workers=1) as sandbox:
        assert sandbox.layers() == [layer for layer in LAYERS if machine_has(layer)]


# -- namespaces


def test_namespaces_alone_hold_the_network_back(host: socket.socket) -> None:
    assert "Network is unreachable" in reason_of("namespaces", connecting_to(host))


def test_namespaces_alone_hide_abstract_sockets() -> None:
    name = f"\0{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        code = f"import socket\nsocket.socket(socket.AF_UNIX).connect({name!r})"

        assert "Connection refused" in reason_of("namespaces", code)
        passes("none", code)


@pytest.mark.skipif(not Path("/proc/sysvipc/shm").exists(), reason="the kernel has no shared memory of System V")
def test_namespaces_alone_hide_shared_memory() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    key = uuid.uuid4().int & 0x7FFFFFFF
    segment = libc.shmget(key, 4096, 0o1666)  # made here, for anyone to use
    try:
        code = f"import ctypes\nassert ctypes.CDLL(None).shmget({key}, 4096, 0o666) "
        assert segment >= 0
        passes("none", code + f"== {segment}")
        passes("namespaces", code + "== -1")
    finally:
        libc.shmctl(segment, 0, None)


def test_without_a_layer_the_network_is_there() -> None:
    """Or the tests of the layers would show nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        passes("none", connecting_to(server))


# -- the unprivileged user


def test_nobody_alone_is_an_unprivileged_user_for_good() -> None:
    three = (UNPRIVILEGED,) * 3
    passes("nobody", f"import os\nassert (os.getresuid(), os.getresgid(), os.getgroups()) == ({three}, {three}, [])")
    for change in ("setuid(0)", "setgid(0)", "setgroups([0])"):
        assert "PermissionError: [Errno 1]" in reason_of("nobody", f"import os\nos.{change}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has groups to give up")
def test_nobody_alone_gives_up_the_groups_of_who_judges() -> None:
    program = (
        "import os\nfrom tinygpt.evaluation.sandbox import Sandbox\nos.setgroups([4, 6])\n"
        f"with Sandbox(workers=1, without=frozenset({set(LAYERS) - {'nobody'}})) as sandbox:\n"
        "    print(sandbox.run('', 'import os\\nassert os.getgroups() == []'))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert "passed=True" in ran.stdout, ran.stdout + ran.stderr


def test_nobody_alone_reads_writes_and_signals_nothing_of_ours(tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o001)
    secret = tmp_path / "secret"
    secret.write_text("mine")
    secret.chmod(0o600)

    for code in (f"open({str(secret)!r})", f"open({str(secret)!r}, 'a')", f"open({str(tmp_path / 'new')!r}, 'w')"):
        assert "PermissionError: [Errno 13]" in reason_of("nobody", code)
    assert "PermissionError: [Errno 1]" in reason_of("nobody", f"import os\nos.kill({os.getpid()}, 0)")


# -- limits of resources


def test_rlimits_alone_are_each_as_set_and_can_not_be_raised() -> None:
    limits = Limits(cpu_seconds=3, memory_bytes=400 * MEGABYTE, file_bytes=MEGABYTE, open_files=20)
    expected = {
        "FSIZE": (MEGABYTE, MEGABYTE),
        "AS": (400 * MEGABYTE, 400 * MEGABYTE),
        "NOFILE": (20, 20),
        "NPROC": (0, 0),
        "CORE": (0, 0),
        "MEMLOCK": (0, 0),
        "MSGQUEUE": (0, 0),
        "CPU": (3, 4),
    }
    code = f"import resource\nfor name, pair in {expected}.items():\n"
    code += "    assert resource.getrlimit(getattr(resource, 'RLIMIT_' + name)) == pair, name"
    verdict = alone("rlimits").run(code, RUN, limits)

    assert verdict.passed, verdict.reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("x = bytearray(2**30)", "MemoryError"),
        ("open('a', 'wb').write(b'x' * (5 * 2**20))", "File too large"),
        ("x = [open(str(i), 'w') for i in range(40)]", "Too many open files"),
    ],
    ids=["memory", "file", "open files"],
)
def test_rlimits_alone_end_what_goes_over_them(code: str, reason: str) -> None:
    assert reason in reason_of("rlimits", code)


@pytest.mark.parametrize("ignored", [False, True])
def test_rlimits_alone_end_an_endless_loop_whether_or_not_it_ignores_the_signal(ignored: bool) -> None:
    code = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\n" * ignored + "while True: pass"

    assert reason_of("rlimits", code, Limits(cpu_seconds=1, wall_seconds=60.0)) == "used more than 1 s of CPU time"


# -- Landlock


def test_landlock_alone_opens_nothing_outside_the_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    victim.chmod(0o666)
    for code in (
        f"open({str(victim)!r}).read()",
        f"open({str(victim)!r}, 'w')",
        f"open({str(tmp_path / 'new')!r}, 'w')",
        f"import os\nos.remove({str(victim)!r})",
        f"import os\nos.mkdir({str(tmp_path / 'new')!r})",
        f"import os\nos.rename({str(victim)!r}, 'stolen')",
        f"import os\nos.truncate({str(victim)!r}, 0)",
        f"import os\nos.listdir({str(tmp_path)!r})",
        "open('/etc/passwd')",
        "import os\nos.listdir('/')",
        "import subprocess\nsubprocess.run(['/bin/true'])",
    ):
        assert "PermissionError: [Errno 13]" in reason_of("landlock", code), code
    assert victim.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [victim]


def test_landlock_alone_lets_the_folder_and_the_standard_library_be_used() -> None:
    passes(
        "landlock",
        "import os, colorsys, pathlib\nos.makedirs('a/b')\npathlib.Path('a/b/c').write_text('x')\n"
        "os.rename('a/b/c', 'd')\nos.symlink('d', 'e')\nassert open('e').read() == 'x'\nos.truncate('d', 0)\n"
        "os.remove('e')\nos.rmdir('a/b')\nassert sorted(os.listdir()) == ['a', 'd']\n"
        "open('/dev/null', 'w').write('x')\n"
        "assert len(open('/dev/urandom', 'rb').read(4)) == 4\nopen(colorsys.__file__).read()",
    )


def test_landlock_alone_holds_tcp_and_signals_back(host: socket.socket) -> None:
    version = ctypes.CDLL(None).syscall(444, None, 0, 1)
    if version >= 4:
        assert "PermissionError: [Errno 13]" in reason_of("landlock", connecting_to(host))
        assert "[Errno 13]" in reason_of("landlock", "import socket\nsocket.create_server(('127.0.0.1', 0))")
    if version >= 6:
        assert "PermissionError: [Errno 1]" in reason_of("landlock", f"import os\nos.kill({os.getpid()}, 0)")


# -- seccomp


@pytest.mark.parametrize(
    "code",
    [
        "import socket\nsocket.socket()",
        "import socket\nsocket.socketpair()",
        "import os\nos.fork()",
        "import subprocess\nsubprocess.run(['/bin/true'])",
        "import os\nos.execv('/bin/true', ['true'])",
        "import os\nos.kill(os.getpid(), 0)",
        "import os\nos.kill(1, 0)",
        "import os\nos.setuid(65533)",
        "import os\nos.chroot('.')",
        "import os\nos.mkfifo('pipe')",
        "import os\nos.setsid()",
        "import os\nos.nice(1)",
        "import os\nos.memfd_create('x')",
        "import mmap\nmmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 1))",
        "import os\nos.sched_setaffinity(0, {0})",
        "import fcntl\nfcntl.fcntl(1, 8, 1)",
    ],
)
def test_seccomp_alone_refuses_all_but_plain_calls(code: str) -> None:
    reason = reason_of("seccomp", code)

    assert re.match(r"(PermissionError|OSError): \[Errno (1|22|38)\]|ValueError: not allowed to raise", reason), reason


def test_seccomp_alone_refuses_threads() -> None:
    assert "can't start new thread" in reason_of("seccomp", "import threading\nthreading.Thread(target=print).start()")


def test_seccomp_alone_changes_no_modes_owners_or_times() -> None:
    passes(
        "seccomp",
        "import os\nopen('a', 'w').close()\nbefore = os.stat('a')\nos.chmod('a', 0o777)\nos.utime('a', (1, 1))\n"
        "os.chown('a', 1, 1)\nafter = os.stat('a')\n"
        "assert (before.st_mode, before.st_mtime, before.st_uid) == (after.st_mode, after.st_mtime, after.st_uid)",
    )


# -- what needs no layer


def test_without_a_layer_a_child_still_has_a_session_and_descriptors_of_its_own() -> None:
    passes(
        "none",
        "import os\nassert os.getsid(0) == os.getpid() == os.getpgid(0)\nassert os.umask(0) == 0o077\n"
        "assert sorted(map(int, os.listdir('/proc/self/fd')))[:4] == [0, 1, 2, 3]\n"
        "assert len(os.listdir('/proc/self/fd')) == 5, os.listdir('/proc/self/fd')\n"
        "status = open('/proc/self/status').read()\nassert 'NoNewPrivs:\\t1' in status\n"
        "assert dict(os.environ).keys() <= {'LC_CTYPE'}",
    )


def test_without_a_layer_a_child_goes_with_its_helper_and_can_not_be_traced() -> None:
    code = (
        "import ctypes\nsignal = ctypes.c_int()\nlibc = ctypes.CDLL(None)\n"
        "assert libc.prctl(2, ctypes.byref(signal)) == 0\nassert signal.value == 9\nassert libc.prctl(3) == 0"
    )

    passes("none", code)
