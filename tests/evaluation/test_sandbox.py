"""What generated code can do to the machine: fail its check, and nothing else."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.conftest import wait_until
from tests.evaluation.conftest import home_of, nothing_is_left
from tinygpt.evaluation.helper import Job, Verdict
from tinygpt.evaluation.limits import MEGABYTE, Limits
from tinygpt.evaluation.sandbox import Sandbox, run_check

RUN = "exec(code)"
QUICK = Limits(cpu_seconds=1, wall_seconds=3.0)
_REFUSED = r"Refused: reading outside|PermissionError: \[Errno (1|13)\]|FileNotFoundError"

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's layers")


def attack(sandbox: Sandbox, code: str, limits: Limits | None = None) -> Verdict:
    """Run the code by a check that demands nothing but that it comes to its end."""
    return sandbox.run(code, RUN, limits)


def test_right_code_passes_and_wrong_code_fails_with_the_line_that_failed(sandbox: Sandbox) -> None:
    check = "nums = [1, 2]\nassert eval(code) == [2, 1]"

    assert sandbox.run("nums[::-1]", check).passed
    wrong = sandbox.run("nums", check)
    assert not wrong.passed
    assert wrong.reason == "AssertionError (in the check: assert eval(code) == [2, 1])"


def test_an_error_in_the_answer_is_told(sandbox: Sandbox) -> None:
    assert attack(sandbox, "nums[0]").reason.startswith("NameError: name 'nums' is not defined")


def test_each_check_has_a_fresh_namespace_and_folder(sandbox: Sandbox) -> None:
    assert sandbox.run("x = 1\nopen('left.txt', 'w').write('x')", RUN).passed

    assert sandbox.run("", "import os\nassert 'x' not in globals() and os.listdir() == []").passed


def test_files_in_the_working_folder_can_be_used(sandbox: Sandbox) -> None:
    check = (
        "import os, pathlib, shutil\nexec(code)\nshutil.copy('a.txt', 'b.txt')\nos.mkdir('d')\n"
        "os.rename('b.txt', 'd/c.txt')\nassert pathlib.Path('d/c.txt').resolve().read_text() == 'hello'\n"
        "shutil.rmtree('d')\nos.remove('a.txt')"
    )

    assert sandbox.run("with open('a.txt', 'w') as f:\n    f.write('hello')", check).reason == ""


def test_a_crash_is_a_failure(sandbox: Sandbox) -> None:
    deep = "x = ()\nfor _ in range(10**6):\n    x = (x,)\nhash(x)"  # the interpreter's stack runs over at once

    assert attack(sandbox, deep).reason == "crashed (SIGSEGV)"
    assert "the module ctypes" in attack(sandbox, "import ctypes\nctypes.string_at(0)").reason


def test_deep_recursion_is_a_failure(sandbox: Sandbox) -> None:
    assert attack(sandbox, "def f(): return f()\nf()").reason.startswith("RecursionError")
    unlimited = attack(sandbox, "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f()\nf()")
    assert re.match(r"crashed|MemoryError|used more than|took longer than", unlimited.reason)


def test_a_fork_bomb_is_a_failure(sandbox: Sandbox) -> None:
    assert attack(sandbox, "import os\nwhile True:\n    os.fork()").reason.startswith("Refused: os.fork")


@linux
@pytest.mark.parametrize("without", [{"audit"}, {"audit", "rlimits"}, {"audit", "seccomp"}])
def test_a_fork_bomb_is_held_by_seccomp_and_by_rlimits_alone(without: set[str]) -> None:
    with Sandbox(workers=1, without=frozenset(without)) as sandbox:
        if "rlimits" in sandbox.layers() and "seccomp" not in sandbox.layers() and os.geteuid() == 0:
            assert "nobody" in sandbox.layers()
        verdict = sandbox.run("import os\nwhile True:\n    os.fork()", RUN, QUICK)
        assert not verdict.passed
        assert "Error" in verdict.reason
        wait_until(lambda: nothing_is_left(sandbox), "no process is left", 5)


@linux
def test_threads_are_refused(sandbox: Sandbox) -> None:
    code = "import threading\nthreading.Thread(target=print).start()"

    assert "can't start new thread" in attack(sandbox, code).reason


def test_an_endless_loop_runs_out_of_cpu_time(sandbox: Sandbox) -> None:
    limits = replace(QUICK, wall_seconds=60.0)

    assert attack(sandbox, "while True: pass", limits).reason == "used more than 1 s of CPU time"


def test_a_loop_that_catches_everything_is_ended_too(sandbox: Sandbox) -> None:
    code = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"

    assert re.match(r"used more than 1 s of CPU time|took longer than 3 s", attack(sandbox, code, QUICK).reason)


def test_sleeping_runs_out_of_wall_time(sandbox: Sandbox) -> None:
    limits = replace(QUICK, wall_seconds=0.5)

    verdict = attack(sandbox, "import time\ntime.sleep(60)", limits)

    assert verdict.reason == "took longer than 0.5 s"
    assert verdict.seconds < 5


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os\nos._exit(0)", "left without finishing the check"),
        ("import sys\nsys.exit(0)", "SystemExit: 0"),
        ("raise SystemExit", "SystemExit"),
        ("exit()", "NameError"),
    ],
)
def test_leaving_is_a_failure(sandbox: Sandbox, code: str, reason: str) -> None:
    assert attack(sandbox, code).reason.startswith(reason)


@linux
def test_ten_gigabytes_are_not_to_be_had(sandbox: Sandbox) -> None:
    before = psutil.virtual_memory().available

    assert attack(sandbox, "x = bytearray(10 * 2**30)").reason.startswith("MemoryError")
    assert attack(sandbox, "x = []\nwhile True:\n    x.append(bytearray(2**20))").reason.startswith("MemoryError")
    assert psutil.virtual_memory().available > before - 2**31


@linux
@pytest.mark.parametrize("without", [set(), {"audit"}, {"audit", "seccomp"}, {"landlock", "nobody"}])
def test_nothing_is_written_outside(tmp_path: Path, without: set[str]) -> None:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o001)
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    victim.chmod(0o666)
    with Sandbox(workers=1, without=frozenset(without)) as sandbox:
        for code in (
            f"open({str(victim)!r}, 'w').write('x')",
            f"open({str(tmp_path / 'new')!r}, 'w')",
            f"import os\nos.remove({str(victim)!r})",
            f"import os\nos.rename({str(victim)!r}, 'stolen')",
            f"import os\nos.symlink({str(victim)!r}, 'link')\nopen('link', 'w')",
            f"import os\nos.link({str(victim)!r}, 'link')\nopen('link', 'w').write('x')",
            f"import os\nos.truncate({str(victim)!r}, 0)",
            f"import os\nos.chdir({str(tmp_path)!r})\nopen('new', 'w')",
            f"import sqlite3\nsqlite3.connect({str(tmp_path / 'new')!r}).execute('create table t(a)')",
            f"import sqlite3\nsqlite3.connect(':memory:').execute('vacuum into ' + {repr(str(tmp_path / 'new'))!r})",
        ):
            verdict = sandbox.run(code, RUN)
            assert not verdict.passed, code
            assert re.match(r"Refused|PermissionError|OperationalError|OSError: \[Errno 18\]", verdict.reason), code
        sandbox.run(f"import os\nos.chmod({str(victim)!r}, 0)", RUN)
    assert victim.read_text() == "mine"
    assert victim.stat().st_mode & 0o777 == 0o666
    assert list(tmp_path.iterdir()) == [victim]


@linux
@pytest.mark.parametrize("without", [set(), {"audit"}, {"landlock", "nobody"}])
def test_nothing_is_read_outside(tmp_path: Path, without: set[str]) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    with Sandbox(workers=1, without=frozenset(without)) as sandbox:
        for path in (str(secret), "/etc/passwd", "/proc/self/environ", "/proc/self/maps", "/proc/1/environ"):
            assert re.match(_REFUSED, sandbox.run(f"print(open({path!r}).read())", RUN).reason), path
        for folder in ("/", "..", str(Path.home())):
            assert re.match(_REFUSED, sandbox.run(f"import os\nos.listdir({folder!r})", RUN).reason), folder


@linux
@pytest.mark.parametrize(
    ("without", "reason"),
    [
        (set(), "Refused: "),
        ({"audit"}, "PermissionError: [Errno 1] Operation not permitted"),
        ({"audit", "seccomp"}, "Error: [Errno 1"),  # 13 by Landlock, 101 by the namespace
    ],
)
def test_there_is_no_network(without: set[str], reason: str) -> None:
    """`socket` is loaded beforehand: an import that fails must not stand in for a layer."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Sandbox(workers=1, without=frozenset(without), modules=("socket", "http.client")) as sandbox,
    ):
        server.settimeout(0.2)
        port = server.getsockname()[1]
        for code in (
            f"import socket\nsocket.socket().connect(('127.0.0.1', {port}))",
            f"import http.client\nhttp.client.HTTPConnection('127.0.0.1', {port}).connect()",
        ):
            verdict = sandbox.run(code, RUN)
            assert not verdict.passed
            assert reason in verdict.reason
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_flood_of_output_is_cut(sandbox: Sandbox) -> None:
    before = psutil.Process().memory_info().rss

    flood = attack(sandbox, "while True: print('x' * 10**6)")

    assert flood.reason == "wrote more than 1,048,576 bytes of output"
    assert psutil.Process().memory_info().rss < before + 50 * MEGABYTE
    assert attack(sandbox, "import os\nwhile True: os.write(3, b'x' * 10**6)").reason.startswith(("xxx", "BlockingIO"))


def test_files_are_limited_in_size_and_number(sandbox: Sandbox) -> None:
    one = "with open('a', 'wb') as f:\n    f.write(b'x' * (5 * 2**20))"
    many = "for i in range(100):\n    with open(f'{i}', 'wb') as f:\n        f.write(b'x' * 2**20)"
    deep = "import os\nfor i in range(5000):\n    os.mkdir('d')\n    os.chdir('d')"
    held = "x = [open(str(i), 'w') for i in range(100)]"

    assert "File too large" in attack(sandbox, one).reason
    assert "bytes of files" in attack(sandbox, many).reason
    assert re.search(r"made more than 500 files|made a folder that can't be looked into", attack(sandbox, deep).reason)
    assert "Too many open files" in attack(sandbox, held).reason


def test_the_environment_is_empty(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGPT_SECRET", "hunter2")

    assert sandbox.run("", "import os\nassert not {k for k in os.environ if k != 'LC_CTYPE'}").passed
    with Sandbox(workers=1) as fresh:
        assert fresh.run("", "import os\nassert not {k for k in os.environ if k != 'LC_CTYPE'}").passed


@pytest.mark.parametrize("without", [set(), {"audit"}, {"audit", "seccomp", "rlimits", "nobody", "landlock"}])
def test_no_process_is_left_behind(without: set[str]) -> None:
    mark = f"mark-{uuid.uuid4().hex}"
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        f"        os.execv({sys.executable!r}, ['python', '-c', 'import time; time.sleep(60)', '{mark}'])\n"
        "    os._exit(0)\n"
        "time.sleep(0.3)"
    )
    with Sandbox(workers=1, without=frozenset(without)) as sandbox:
        sandbox.run(code, RUN, QUICK)
        wait_until(lambda: nothing_is_left(sandbox), "no process is left", 5)
    assert not [process for process in psutil.process_iter(["cmdline"]) if mark in (process.info["cmdline"] or [])]


@linux
def test_others_can_not_be_signalled(sandbox: Sandbox) -> None:
    helper = sandbox._helpers[-1]._process.pid

    for target in (helper, os.getpid(), 1, -1, 0):
        assert attack(sandbox, f"import os\nos.kill({target}, 9)").reason.startswith("Refused: os.kill")
    assert sandbox._helpers[-1].alive()


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_can_judge_too() -> None:
    code = (
        "from tinygpt.evaluation.sandbox import Sandbox\n"
        "with Sandbox(workers=1) as s:\n"
        "    print(s.layers())\n"
        "    assert s.run('1 + 1', 'assert eval(code) == 2').passed\n"
        "    assert s.run('import os; os.fork()', 'exec(code)').reason.startswith('Refused: os.fork')\n"
        "    assert s.run('open(\"/tmp/x\", \"w\")', 'exec(code)').reason.startswith('Refused: writing outside')\n"
    )
    program = (
        f"import os\nos.setgroups([])\nos.setresgid(64001, 64001, 64001)\nos.setresuid(64001, 64001, 64001)\n{code}"
    )
    if not os.access(sys.executable, os.X_OK) or not _everyone_may_pass(Path(sys.executable).resolve()):
        program = (
            # Here the interpreter lies where only root may go: give up root's other rights instead.
            "import ctypes\nlibc = ctypes.CDLL(None)\n"
            f"for right in range(41):\n    libc.prctl(24, right)\n{_DROP_CAPABILITIES}\n{code}"
        )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "shared"), "PATH": os.environ["PATH"]}
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "nobody" not in ran.stdout
    assert "seccomp" in ran.stdout


_DROP_CAPABILITIES = """
import struct
header = struct.pack("Ii", 0x20080522, 0)
assert libc.syscall(126, header, bytes(24)) == 0
"""


def _everyone_may_pass(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.parents)


def test_many_are_judged_in_order_and_counted(shared_sandbox: Sandbox) -> None:
    done: list[int] = []
    jobs = [Job(str(i), f"assert eval(code) == {i if i % 2 else -1}") for i in range(20)]

    with Sandbox(workers=2) as sandbox:
        verdicts = sandbox.run_all(jobs, done.append)

    assert [verdict.passed for verdict in verdicts] == [bool(i % 2) for i in range(20)]
    assert done == list(range(1, 21))


def test_a_helper_that_is_lost_is_replaced() -> None:
    with Sandbox(workers=1) as sandbox:
        assert sandbox.run("1", "eval(code)").passed
        sandbox._helpers[0]._process.kill()
        sandbox._helpers[0]._process.wait()
        assert sandbox.run("1", "eval(code)").passed


def test_closing_ends_what_still_runs() -> None:
    with Sandbox(workers=1) as sandbox:
        assert sandbox.run("1", "eval(code)").passed
        helper = psutil.Process(sandbox._helpers[0]._process.pid)
        thread = threading.Thread(
            target=lambda: sandbox.run("import time\ntime.sleep(60)", RUN, Limits(wall_seconds=60)), daemon=True
        )
        thread.start()
        wait_until(lambda: helper.children(), "the child is there", 5)
        (child,) = helper.children()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the child has ended", 5)
    assert not home_of(sandbox).exists()


def test_run_check_needs_no_preparation() -> None:
    started = time.monotonic()

    assert run_check("2 + 2", "assert eval(code) == 4").passed
    assert time.monotonic() - started < 20


def test_the_helper_goes_when_its_parent_is_killed() -> None:
    code = (
        "import os\nfrom tinygpt.evaluation.sandbox import Sandbox\ns = Sandbox(workers=1)\ns.layers()\n"
        "print(s._helpers[0]._process.pid, s._home.name, flush=True)\nos.kill(os.getpid(), 9)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    pid, home = ran.stdout.split()
    wait_until(lambda: not psutil.pid_exists(int(pid)), "the helper is gone", 5)
    assert not Path(home).exists()
