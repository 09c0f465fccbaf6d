"""A side in a process of its own on given cores, so that the runtimes of two sides can't disturb each other."""

import contextlib
import io
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.decoding_models import Sampling
from benchmarks.decoding_sides import NANOGPT, OURS, PEERS, CTranslate2, NanoGPT, Prompts, Side

_CALIBRATION_TOKENS = 50


class SideFailed(Exception):
    """A side can't be measured; the message is its own error."""


@dataclass(frozen=True)
class Speed:
    """The speed of one repetition."""

    tokens: int
    seconds: float
    """Wall clock from the prompts' ids to the last token's id."""
    processor_seconds: float

    @property
    def tokens_a_second(self) -> float:
        return self.tokens / self.seconds

    @property
    def cores_used(self) -> float:
        """Below the number of cores if other work ran on them, or if the side left them idle."""
        return self.processor_seconds / self.seconds


@contextlib.contextmanager
def pinned(cores: set[int], threads: int | None = None) -> Iterator[None]:
    """A block in which started processes get these cores alone, and at most one thread per core."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    environment = dict(os.environ)
    os.environ |= {name: str(threads or len(cores)) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    if before is not None:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        if before is not None:
            os.sched_setaffinity(0, before)


class SideProcess:
    """A side, known by its name, in a child process. A model stays loaded there until `close`."""

    def __init__(self, name: str, cores: set[int], streams: int, nanogpt: Path | None) -> None:
        self.name = name
        self.streams = streams
        self._connection, child = multiprocessing.Pipe()
        with pinned(cores):
            self._process = multiprocessing.get_context("spawn").Process(
                target=_serve, args=(child, name, len(cores), streams, nanogpt), daemon=True
            )
            self._process.start()
        child.close()

    def texts(self, folder: Path, prompts: Prompts, new_tokens: int, sampling: Sampling) -> list[list[int]]:
        """Texts of the prompts, generated one after the other."""
        texts: list[list[int]] = self._ask("texts", folder, prompts, new_tokens, sampling)
        return texts

    def measure(self, folder: Path, prompts: Prompts, new_tokens: int, sampling: Sampling, seconds: float) -> Speed:
        """Generate for the first `streams` prompts at the same time, again and again for at least `seconds`."""
        speed: Speed = self._ask("measure", folder, prompts[: self.streams], new_tokens, sampling, seconds)
        return speed

    def close(self) -> None:
        self._connection.close()
        self._process.join(timeout=20)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, *command: Any) -> Any:
        try:
            self._connection.send(command)
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise SideFailed(f"{self.name}: its process ended") from error
        if isinstance(answer, str):
            raise SideFailed(f"{self.name}: {answer}")
        return answer


def _serve(connection: Connection, name: str, cores: int, streams: int, nanogpt: Path | None) -> None:
    """The child's loop: answer until the parent closes the connection."""
    import torch

    torch.set_num_threads(1 if name in OURS else cores)  # as our server does
    sides: dict[Path, Side] = {}
    while True:
        try:
            what, folder, *arguments = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # progress bars
                if folder not in sides:
                    sides[folder] = _make(name, folder, cores, streams, nanogpt)
                answer: Any = _TASKS[what](sides[folder], *arguments)
        except Exception:  # noqa: BLE001  (a peer may raise anything: it is left out and its error shown)
            answer = traceback.format_exc(limit=-3)
        connection.send(answer)


def _make(name: str, folder: Path, cores: int, streams: int, nanogpt: Path | None) -> Side:
    if name == NANOGPT:
        assert nanogpt is not None
        return NanoGPT(folder, nanogpt)
    return (OURS | PEERS)[name](folder, cores, streams)


def _texts(side: Side, prompts: Prompts, new_tokens: int, sampling: Sampling) -> list[list[int]]:
    return [side.generate([prompt], new_tokens, sampling)[0] for prompt in prompts]


def _measure(side: Side, prompts: Prompts, new_tokens: int, sampling: Sampling, seconds: float) -> Speed:
    if isinstance(side, CTranslate2) and len(side.divisions) > 1:
        _calibrate(side, prompts, sampling)
    side.generate(prompts, 2, sampling)  # warm-up: some things are made at the first call
    tokens = 0
    processor, started = time.process_time(), time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds or not tokens:
        texts = side.generate(prompts, new_tokens, sampling)
        wrong = [len(text) for text in texts if len(text) != new_tokens]
        if wrong:
            raise ValueError(f"{wrong[0]} tokens were generated, but {new_tokens} were asked for")
        tokens += new_tokens * len(prompts)
    return Speed(tokens, spent, time.process_time() - processor)


def _calibrate(side: CTranslate2, prompts: Prompts, sampling: Sampling) -> None:
    """Try all divisions of the work and keep the fastest."""

    def seconds(division: tuple[int, int, int]) -> float:
        side.division = division
        times = []
        for _ in range(3):
            started = time.perf_counter()
            side.generate(prompts, _CALIBRATION_TOKENS, sampling)
            times.append(time.perf_counter() - started)
        return min(times)

    side.division = min(side.divisions, key=seconds)
    side.divisions = [side.division]


_TASKS: dict[str, Callable[..., Any]] = {"texts": _texts, "measure": _measure}
