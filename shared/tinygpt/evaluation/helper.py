"""A helper process that runs checks one after the other, and the pipe to it."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinygpt.contracts.errors import SandboxUnavailable
from tinygpt.evaluation.limits import Limits

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
    """`passed` is true if the check ran to its end without an error. Otherwise `reason` is one line for people to read.

    The reason may contain text that the judged code chose.
    """

    passed: bool
    reason: str
    seconds: float


@dataclass(frozen=True)
class Job:
    """Code to judge. `check` runs with the text `code` in its namespace, and passes if it raises nothing."""

    code: str
    check: str


class Helper:
    """A fork server (`jail/server.py`) and the pipe to it. `home` is the folder of its working folders.

    Raises `SandboxUnavailable` if the process does not start.
    """

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
            self.close()
            raise SandboxUnavailable("The judge's helper process did not start: is the Python installation whole?")
        self.layers: list[str] = hello["layers"]

    def alive(self) -> bool:
        return self._process.poll() is None

    def judge(self, job: Job, limits: Limits) -> Verdict:
        """Run one check. If the process is lost, the verdict says so, and the helper can't be used again."""
        message = json.dumps({"code": job.code, "check": job.check, "limits": asdict(limits)}).encode() + b"\n"
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(message)
            self._process.stdin.flush()
            answer = self._read(limits.wall_seconds + _GRACE_SECONDS)
        except (OSError, ValueError):  # the process is gone, or another thread has closed its pipes
            answer = None
        if answer is None:
            self.close()
            return Verdict(False, "the judge's helper process was lost", 0.0)
        return Verdict(**answer)

    def _read(self, seconds: float) -> dict[str, Any] | None:
        """The next message. None if the process is gone, or silent for `seconds`."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(seconds) else b""
        if not line.endswith(b"\n"):
            return None
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """Kill the process. A child that it may have dies with it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, 9)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
