"""Progress of an evaluation, with an estimate of the time left."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["checking the rows", "answering", "judging", "comparing"]


@dataclass(frozen=True)
class EvaluationProgress:
    """`seconds_left` is for this phase. None if there is nothing to estimate it from yet."""

    phase: Phase
    done: int
    total: int
    seconds_left: float | None


class ProgressReporter:
    """Reports progress, with the time left as if the rest of the phase went as fast as its beginning."""

    def __init__(self, on_progress: Callable[[EvaluationProgress], None]) -> None:
        self._on_progress = on_progress
        self._phase: Phase | None = None
        self._phase_started_at = 0.0

    def report(self, phase: Phase, done: int, total: int) -> None:
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._phase_started_at = phase, now
        elapsed = now - self._phase_started_at
        left = elapsed / done * (total - done) if done and elapsed else None
        self._on_progress(EvaluationProgress(phase, done, total, left))
