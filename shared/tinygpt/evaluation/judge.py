"""From answers to verdicts. Only what has to run is run, and the same answer to the same check runs once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinygpt.evaluation.forgery_screen import refusal
from tinygpt.evaluation.helper import Job
from tinygpt.evaluation.sandbox import Sandbox
from tinygpt.inference.postprocess import parses


@dataclass(frozen=True)
class Attempt:
    """An answer to judge, with the row's own code and check."""

    code: str
    expected: str
    check: str


def why_failed(
    sandbox: Sandbox, attempts: Sequence[Attempt], on_progress: Callable[[int, int], None] = lambda _done, _total: None
) -> list[str]:
    """For each attempt "" if its check passes, otherwise the reason. `on_progress` gets the number of checks that have
    run, and of those to run."""
    reasons = {attempt: _reason_without_running(attempt) for attempt in attempts}
    jobs = list({Job(attempt.code, attempt.check): None for attempt, reason in reasons.items() if not reason})
    on_progress(0, len(jobs))
    verdicts = dict(zip(jobs, sandbox.run_all(jobs, lambda done: on_progress(done, len(jobs))), strict=True))
    return [reasons[attempt] or verdicts[Job(attempt.code, attempt.check)].reason for attempt in attempts]


def _reason_without_running(attempt: Attempt) -> str:
    """Why the attempt fails, if that can be seen without running it; otherwise ""."""
    if not attempt.code.strip():
        return "no answer"
    if not parses(attempt.code):
        return "not Python"
    return refusal(attempt.code, expected=attempt.expected, check=attempt.check) or ""
