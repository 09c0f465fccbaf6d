"""A sandbox for generated code: each check runs in a child process of its own, isolated by every available layer.

The layers, from the strongest down. Each needs less from the machine than the one before it.

- seccomp-BPF (Linux on x86_64 and aarch64): no sockets, processes, threads, signals to others, ptrace, mounts or new
  native code. Needs no privileges and works in a container without capabilities.
- Landlock (Linux 5.13 and newer, if it is enabled): the child can read the standard library, and can read and write an
  empty working folder. It can't read the contents of any other file.
- An unprivileged user, and empty network and IPC namespaces, if the judge itself runs as root.
- rlimits (every Unix): CPU time, address space, file size, open files, processes, core dumps.
- The helper: limits on wall time, output and the size of the working folder. It kills the child's process group and
  removes the folder.
- An audit hook in the child's interpreter: no files outside, frames, lists of the garbage collector, ctypes or tracing.

macOS has only the last three, and does not enforce the memory limit: run only your own model's code there. Windows has
none of them and is refused.

The child proves a pass with a nonce. It keeps the nonce in a frame below that of the check, and sends it when the check
has run to its end. Exiting early, printing, writing to descriptors and patching builtins do not send it.
"""

import contextlib
import queue
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tinygpt.contracts.errors import SandboxUnavailable
from tinygpt.evaluation.helper import Helper, Job, Verdict
from tinygpt.evaluation.limits import Limits
from tinygpt.evaluation.preloaded_modules import modules_to_load

WHAT_THIS_IS_NOT = (
    "Generated code runs in child processes that can't reach the network, start processes, or use files outside an "
    "empty folder, with limits on time, memory, files and output. This is enough for the mistakes and mischief of a "
    "small model. It is not a virtual machine: it does not protect against bugs in the kernel. Nor does it stop an "
    "attacker who gets past the audit hook to the interpreter's memory, or who answers with objects that equal "
    "everything, and so forges a pass; that harms the score, not the machine. Code can see the names and sizes of "
    "files outside, but not their contents. macOS has fewer layers: no seccomp and no Landlock."
)


class Sandbox:
    """A pool of `workers` helper processes that run checks, each check in a child of its own. Thread-safe.

    `modules` are modules of the standard library to import beforehand, in addition to the harmless ones. `without`
    leaves layers out. It is for tests, which show what each of the other layers prevents by itself.
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
            raise SandboxUnavailable("Windows can't isolate generated code: use Linux, a container or WSL.")
        self.limits = limits or Limits()
        self.workers = workers
        self._modules = modules_to_load(modules)
        self._without = without
        self._home = tempfile.TemporaryDirectory(prefix="tinygpt-judge-", ignore_cleanup_errors=True)
        Path(self._home.name).chmod(0o711)  # the child's user has to reach its folder
        self._idle: queue.LifoQueue[Helper | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)
        self._helpers: list[Helper] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the helpers and whatever they still run, and remove every folder."""
        with self._lock:
            helpers, self._helpers = self._helpers, []
        for helper in helpers:
            helper.close()
        self._home.cleanup()

    def layers(self) -> list[str]:
        """Names of the layers that are active on this machine."""
        with self._helper() as helper:
            return helper.layers

    def run(self, code: str, check: str, limits: Limits | None = None) -> Verdict:
        """Judge one answer. Waits until a helper is free. Raises nothing that the code causes."""
        with self._helper() as helper:
            return helper.judge(Job(code, check), limits or self.limits)

    def run_all(self, jobs: Sequence[Job], on_progress: Callable[[int], None] = lambda _done: None) -> list[Verdict]:
        """Judge many answers, `workers` at a time. `on_progress` gets the number finished, in this thread."""
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
                except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                    finished.put(error)
                    return

        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(self.workers, len(jobs)))]
        for thread in threads:
            thread.start()
        try:
            for done in range(1, len(jobs) + 1):
                if error := finished.get():
                    raise error
                on_progress(done)
        finally:
            stop.set()
        for thread in threads:
            thread.join()
        return [verdict for verdict in verdicts if verdict is not None]

    @contextlib.contextmanager
    def _helper(self) -> Iterator[Helper]:
        helper = self._idle.get()
        try:
            if helper is None or not helper.alive():
                helper = None
                helper = Helper(self._home.name, self._modules, self._without)
                with self._lock:
                    self._helpers.append(helper)
            yield helper
        finally:
            self._idle.put(helper)


def run_check(code: str, check: str, limits: Limits | None = None) -> Verdict:
    """Judge one answer in a sandbox of its own. For more than a few answers, keep a `Sandbox`."""
    with Sandbox(workers=1, limits=limits) as sandbox:
        return sandbox.run(code, check)
