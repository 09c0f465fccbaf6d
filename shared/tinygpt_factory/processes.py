"""Drawing on several cores: each process draws whole families ahead, in the order in which they are collected."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from tinygpt.data.rows import Row
from tinygpt_factory.drawing import Candidate, Drawer, Source

_FEW_ROWS = 5_000
"""So few are drawn before processes have started."""
_SOURCES_AT_ONCE = 4
_PR_SET_PDEATHSIG = 1
_work: tuple[Drawer, Sequence[Source]]
"""What the processes of a pool were forked with. A family holds functions, so it can't be sent to them."""

_Ahead = tuple[list[tuple[int, str, str, dict[str, str]]], int, tuple[Any, ...]]
"""What a process found of a source: misses, prompt, code and further keys of each row (plain, because that is pickled
faster than rows), the misses after the last, and the state of the random numbers."""


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def drawn_ahead(
    drawer: Drawer, sources: Sequence[Source], quotas: Sequence[int], processes: int
) -> Iterator[tuple[Source, int]]:
    """Each source with its quota, in order. Several processes draw the rows ahead, if processes can be forked.

    Raises `BuildFailed`.
    """
    global _work
    if processes == 1 or sum(quotas) < _FEW_ROWS or "fork" not in multiprocessing.get_all_start_methods():
        yield from zip(sources, quotas, strict=True)
        return
    _work = drawer, sources
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork"), _enter) as pool:
        results = pool.map(_draw, range(len(sources)), quotas, chunksize=_SOURCES_AT_ONCE)
        for source, quota, (rows, misses, state) in zip(sources, quotas, results, strict=True):
            source.rng.setstate(state)
            source.misses_ahead = misses
            source.ahead = deque(Candidate(misses, Row(prompt, code, extra)) for misses, prompt, code, extra in rows)
            yield source, quota


def _enter() -> None:
    """Start a process. It gets a working folder of its own for checks to write in, and ends with the process that
    collects, even if that is killed."""
    os.chdir(tempfile.mkdtemp(dir=Path.cwd().parent))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all, and the collecting process reacts
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _draw(index: int, rows: int) -> _Ahead:
    drawer, sources = _work
    source = sources[index]
    source.draw_ahead(drawer, rows)
    found = [(misses, row.prompt, row.code, row.extra) for misses, row in source.ahead]
    return found, source.misses_ahead, source.rng.getstate()
