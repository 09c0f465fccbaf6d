"""The helper: a fork server. It imports once, and forks a child into a `Cell` for every check.

It reads requests from its standard input and writes answers to its standard output: one JSON object per line, one check
at a time. It ends when its input ends.
"""

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinygpt.evaluation.jail import kernel
from tinygpt.evaluation.jail.cell import RESULT, Cell
from tinygpt.evaluation.jail.folder import remove, too_full
from tinygpt.evaluation.jail.identity import UNPRIVILEGED_ID
from tinygpt.evaluation.jail.run import run

MAX_RESULT_BYTES = 4096
LOOK_EVERY_SECONDS = 0.05
SECONDS_TO_LEAVE = 0.5


def serve(home: str, preload: list[str], without: list[str]) -> None:
    """Answer checks until the input ends. Working folders are made and removed in `home`."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    for module in preload:
        try:
            importlib.import_module(module)
        except ImportError:
            continue
    cell = Cell(frozenset(without))
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    gc.freeze()
    _say(answers, {"layers": cell.layers()})
    for line in requests:
        job = json.loads(line)
        _say(answers, judge(cell, home, job["code"], job["check"], job["limits"]))
    with contextlib.suppress(OSError):  # a parent that was not killed removes it
        remove(home)


def _say(answers: Any, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message).encode() + b"\n")
    answers.flush()


def judge(cell: Cell, home: str, code: str, check: str, limits: Mapping[str, float]) -> dict[str, Any]:
    """One check in one child. Afterwards the child, what it started, and its folder are gone."""
    started = time.monotonic()
    folder = tempfile.mkdtemp(dir=home)
    try:
        if cell.nobody:
            os.chown(folder, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
        output_end, output = os.pipe()
        result_end, result = os.pipe()
        nonce = os.urandom(32)
        child = os.fork()
        if child == 0:
            try:
                cell.close(folder, output, result, limits)
                run(code, check, nonce, RESULT)
            except BaseException as error:  # noqa: BLE001 - a forked child must not come back as a second helper
                os.write(RESULT, f"the cell could not be closed: {error}".encode()[:MAX_RESULT_BYTES])
            finally:
                os._exit(1)
        os.close(output)
        os.close(result)
        reason = "the judge was stopped"
        try:
            outcome, reason = _watch(result_end, output_end, folder, limits, started)
        finally:
            os.close(result_end)
            os.close(output_end)
            status = _end(child, at_once=bool(reason))
    finally:
        remove(folder)
    passed = outcome == nonce and status == 0 and not reason
    if not passed and not reason:
        reason = _why(outcome, status, limits)
    return {"passed": passed, "reason": reason, "seconds": round(time.monotonic() - started, 4)}


def _watch(result: int, output: int, folder: str, limits: Mapping[str, float], started: float) -> tuple[bytes, str]:
    """Wait for the child's outcome. Returns it, and why the child has to be stopped ("" if it has not)."""
    outcome = b""
    flooded = 0
    deadline = started + limits["wall_seconds"]
    next_look = time.monotonic() + LOOK_EVERY_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(result, selectors.EVENT_READ)
        selector.register(output, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(LOOK_EVERY_SECONDS):
                piece = os.read(key.fd, 65536)
                if key.fd == output:
                    flooded += len(piece)
                    if not piece:
                        selector.unregister(output)
                elif not piece or len(outcome) > MAX_RESULT_BYTES:
                    return outcome, too_full(folder, limits)
                else:
                    outcome += piece
            now = time.monotonic()
            if flooded > limits["output_bytes"]:
                return outcome, f"wrote more than {limits['output_bytes']:,} bytes of output"
            if now > deadline:
                return outcome, f"took longer than {limits['wall_seconds']:g} s"
            if now > next_look:
                next_look = now + LOOK_EVERY_SECONDS
                if reason := too_full(folder, limits):
                    return outcome, reason


def _end(child: int, *, at_once: bool) -> int | None:
    """End the child's process group and whatever else it started. Returns its exit status, None if it was killed.

    A child that has sent its outcome is about to exit. Unless `at_once`, it gets a moment for that.
    """
    deadline = time.monotonic() + (0.0 if at_once else SECONDS_TO_LEAVE)
    ended, status = os.waitpid(child, os.WNOHANG)
    while not ended and time.monotonic() < deadline:
        time.sleep(0.0005)
        ended, status = os.waitpid(child, os.WNOHANG)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the group is empty, or (macOS) has only zombies
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.kill(child, signal.SIGKILL)  # it may not lead its group yet
        os.waitpid(child, 0)
    _end_strays()
    return status if ended else None


def _end_strays() -> None:
    """Kill what the child left in another session. On Linux the helper becomes its parent."""
    while True:
        for stray in _children():
            os.kill(stray, signal.SIGKILL)
        try:
            stray, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if stray == 0:
            time.sleep(0.001)


def _children() -> list[int]:
    me = os.getpid()
    try:
        return [int(pid) for pid in Path(f"/proc/{me}/task/{me}/children").read_text().split()]
    except OSError:
        return []


def _why(outcome: bytes, status: int | None, limits: Mapping[str, float]) -> str:
    """Why a child failed that did not send the nonce."""
    if status is None:
        return "went on after it could no longer pass"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number in (signal.SIGXCPU, signal.SIGKILL):
            return f"used more than {limits['cpu_seconds']} s of CPU time"
        return f"crashed ({signal.Signals(number).name})"
    if outcome:
        return outcome.decode(errors="replace")
    return "left without finishing the check"
