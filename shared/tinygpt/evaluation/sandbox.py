"""Running code that nobody has read: each check in a child process of its own, shut in by every layer there is.

From the strongest layer down, each needing less of the machine than the one before it:

- seccomp-BPF (Linux, x86_64 and aarch64): no sockets, processes, threads, signals to others, ptrace, mounts, and no new
  native code. Needs no privileges and works in a container without capabilities.
- Landlock (Linux 5.13 and newer, where it is switched on): reads the standard library, reads and writes an empty
  working folder, and no other file's contents.
- An unprivileged user and empty network and IPC namespaces, where the judge itself is root.
- rlimits (every Unix): CPU time, address space, file size, open files, processes, core dumps.
- The helper: wall time, output, the working folder's size; it kills the child's group and removes the folder.
- An audit hook in the child's interpreter: files outside, frames, the garbage collector's lists, ctypes, tracing.

macOS has the last three only (and does not enforce the limit on memory): there, run nothing but your own model's code.
Windows has none of them and is refused.

That a check passed is told by a nonce which the child holds in a frame below the check's, and sends when the check has
come to its end. Leaving early, printing, writing to descriptors and patching builtins don't send it.
"""

import contextlib
import json
import os
import queue
import selectors
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tinygpt.contracts.errors import SandboxUnavailable
from tinygpt.evaluation.limits import Limits
from tinygpt.evaluation.modules import modules_to_load

WHAT_THIS_IS_NOT = (
    "Generated code runs in child processes of its own that can't reach the network, start processes, or touch files "
    "outside an empty folder, within limits on time, memory, files and output. That holds against the mistakes and "
    "mischief of a small model. It is not a virtual machine: it does not hold against faults in the kernel, nor "
    "against someone who, inside the interpreter, beats the audit hook to reach its memory, or answers with objects "
    "that equal everything, and so forges a pass (which harms the score, not the machine). Names and sizes of files "
    "outside can be seen, not their contents. "
    "macOS has fewer layers: no seccomp and no Landlock."
)

_START = """
import json, sys
sys.path.insert(0, {path!r})
from tinygpt.evaluation.jail.server import serve
sys.path.remove({path!r})
serve(**json.loads(sys.argv[1]))
"""
_START_SECONDS = 60.0
_GRACE_SECONDS = 30.0


@dataclass(frozen=True)
class Verdict:
    """Whether the check came to its end without an error. `reason` is "" if it did; else one line, meant for people.

    The reason may hold text that the judged code chose.
    """

    passed: bool
    reason: str
    seconds: float


@dataclass(frozen=True)
class Job:
    """`check` is run with the text `code` in its namespace, and passes if it raises nothing."""

    code: str
    check: str


class Sandbox:
    """A few helper processes that run checks, each check in a child of its own. A context manager; thread-safe.

    `modules` are standard library modules, beside the harmless ones, to import beforehand. `without` leaves layers
    out: for tests, which show what the others hold by themselves.
    """

    def __init__(
        self,
        workers: int = 2,
        *,
        limits: Limits | None = None,
        modules: Sequence[str] = (),
        without: frozenset[str] = frozenset(),
    ) -> None:
        if sys.platform == "win32":
            raise SandboxUnavailable("Windows can't shut generated code in: use Linux, a container or WSL.")
        self.limits = limits or Limits()
        self.workers = workers
        self._modules = modules_to_load(modules)
        self._without = without
        self._home = tempfile.TemporaryDirectory(prefix="tinygpt-judge-", ignore_cleanup_errors=True)
        Path(self._home.name).chmod(0o711)  # the child's user has to pass through
        self._idle: queue.LifoQueue[_Helper | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)
        self._helpers: list[_Helper] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the helpers, and with them whatever still runs; remove every folder."""
        with self._lock:
            helpers, self._helpers = self._helpers, []
        for helper in helpers:
            helper.end()
        self._home.cleanup()

    def layers(self) -> list[str]:
        """The layers in force on this machine."""
        with self._helper() as helper:
            return helper.layers

    def run(self, code: str, check: str, limits: Limits | None = None) -> Verdict:
        """Judge one answer. Waits for a helper to be free. Never raises for what the code does."""
        with self._helper() as helper:
            return helper.judge(Job(code, check), limits or self.limits)

    def run_all(self, jobs: Sequence[Job], on_done: Callable[[int], None] = lambda _done: None) -> list[Verdict]:
        """Judge many, `workers` at a time. `on_done` is told how many are finished, in this thread."""
        verdicts: list[Verdict | None] = [None] * len(jobs)
        finished: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        positions = iter(range(len(jobs)))
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                with self._lock:
                    position = next(positions, None)
                if position is None:
                    return
                try:
                    verdicts[position] = self.run(jobs[position].code, jobs[position].check)
                    finished.put(None)
                except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
                    finished.put(error)
                    return

        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(self.workers, len(jobs)))]
        for thread in threads:
            thread.start()
        try:
            for done in range(1, len(jobs) + 1):
                if error := finished.get():
                    raise error
                on_done(done)
        finally:
            stop.set()
        for thread in threads:
            thread.join()
        return [verdict for verdict in verdicts if verdict is not None]

    @contextlib.contextmanager
    def _helper(self) -> Iterator["_Helper"]:
        helper = self._idle.get()
        try:
            if helper is None or not helper.alive():
                helper = None
                helper = _Helper(self._home.name, self._modules, self._without)
                with self._lock:
                    self._helpers.append(helper)
            yield helper
        finally:
            self._idle.put(helper)


class _Helper:
    """One fork server and the pipe to it."""

    def __init__(self, home: str, modules: Sequence[str], without: frozenset[str]) -> None:
        package_path = str(Path(__file__).resolve().parents[2])
        settings = json.dumps({"home": home, "preload": modules, "without": sorted(without)})
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", _START.format(path=package_path), settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
        hello = self._read(_START_SECONDS)
        if hello is None:
            self.end()
            raise SandboxUnavailable("The judge's helper process did not start: is the Python installation whole?")
        self.layers: list[str] = hello["layers"]

    def alive(self) -> bool:
        return self._process.poll() is None

    def judge(self, job: Job, limits: Limits) -> Verdict:
        message = json.dumps({"code": job.code, "check": job.check, "limits": asdict(limits)}).encode() + b"\n"
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(message)
            self._process.stdin.flush()
            told = self._read(limits.wall_seconds + _GRACE_SECONDS)
        except (OSError, ValueError):  # the helper is gone; or its pipes are closed, for another thread ended it
            told = None
        if told is None:
            self.end()
            return Verdict(False, "the judge's helper process was lost", 0.0)
        return Verdict(**told)

    def _read(self, seconds: float) -> dict[str, Any] | None:
        """The next line; None if the helper is gone or silent."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(seconds) else b""
        if not line.endswith(b"\n"):
            return None
        message: dict[str, Any] = json.loads(line)
        return message

    def end(self) -> None:
        """Kill the helper; the child it may have dies with it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, 9)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def run_check(code: str, check: str, limits: Limits | None = None) -> Verdict:
    """Judge one answer in a sandbox of its own. For more than a few, keep a `Sandbox`."""
    with Sandbox(workers=1, limits=limits) as sandbox:
        return sandbox.run(code, check)
