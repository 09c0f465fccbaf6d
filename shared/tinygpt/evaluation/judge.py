"""From answers to verdicts: what has no need to run is not run, and what is asked twice is run once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinygpt.evaluation.sandbox import Job, Sandbox
from tinygpt.evaluation.screen import refusal
from tinygpt.inference.postprocess import parses


@dataclass(frozen=True)
class Attempt:
    """An answer to judge, with the row's own code and check."""

    code: str
    expected: str
    check: str


def why_failed(
    sandbox: Sandbox, attempts: Sequence[Attempt], on_done: Callable[[int, int], None] = lambda _done, _total: None
) -> list[str]:
    """For each attempt "" if its check passes, else why not. `on_done` is told how many of how many have been run."""
    reasons = {attempt: _without_running(attempt) for attempt in attempts}
    jobs = list({Job(attempt.code, attempt.check): None for attempt, reason in reasons.items() if not reason})
    on_done(0, len(jobs))
    verdicts = sandbox.run_all(jobs, lambda done: on_done(done, len(jobs)))
    ran = dict(zip(jobs, verdicts, strict=True))
    told = {attempt: reason or ran[Job(attempt.code, attempt.check)].reason for attempt, reason in reasons.items()}
    return [told[attempt] for attempt in attempts]


def _without_running(attempt: Attempt) -> str:
    if not attempt.code.strip():
        return "no answer"
    if not parses(attempt.code):
        return "not Python"
    return refusal(attempt.code, expected=attempt.expected, check=attempt.check) or ""
