"""An evaluation from beginning to end: check the rows, answer, judge, compare, count."""

import time
from collections.abc import Callable, Sequence

from tinygpt.contracts.errors import InvalidDataset
from tinygpt.data.rows import Row
from tinygpt.evaluation.answers import Sampling, answer_all
from tinygpt.evaluation.judge import Attempt, why_failed
from tinygpt.evaluation.limits import Limits
from tinygpt.evaluation.outcomes import row_outcomes
from tinygpt.evaluation.preloaded_modules import imported_modules
from tinygpt.evaluation.progress import EvaluationProgress, ProgressReporter
from tinygpt.evaluation.report import BrokenRow, EvaluationReport, Group, groups_by
from tinygpt.evaluation.sandbox import WHAT_THIS_IS_NOT, Sandbox
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.retrieval import RetrievalIndex


def evaluate(
    generator: CodeGenerator,
    rows: Sequence[Row],
    *,
    samples: int = 1,
    temperature: float = 0.0,
    seed: int = 0,
    workers: int = 2,
    limits: Limits | None = None,
    max_new_tokens: int = 256,
    on_progress: Callable[[EvaluationProgress], None] = lambda _progress: None,
) -> EvaluationReport:
    """Answer every row by the model alone and by the whole system, run the checks in a sandbox, and count.

    Rows without a `check` are left out, and so are rows whose own code fails its check on this machine. `workers`
    processes judge. An answer counts as new unless it is in the rows of `generator.retrieval`. If `on_progress` raises,
    the evaluation stops and leaves no process or file behind.

    Raises:
        InvalidDataset: no row has a check that its own code passes.
        SandboxUnavailable: this machine can't isolate generated code.
        ValueError: several samples at temperature 0, which would all be the same.
    """
    if samples < 1 or (samples > 1 and temperature == 0):
        raise ValueError("several samples need a temperature above 0: greedy answers are all the same")
    started_at = time.monotonic()
    progress = ProgressReporter(on_progress)
    checked = [row for row in rows if isinstance(row.extra.get("check"), str)]
    if not checked:
        raise InvalidDataset("None of these rows has a `check`, the Python that says whether an answer is right.")
    modules = imported_modules(text for row in checked for text in (row.code, row.extra["check"]))
    with Sandbox(workers, limits=limits, modules=sorted(modules)) as sandbox:
        layers = sandbox.layers()
        usable, broken = _split_by_own_code(
            sandbox, checked, lambda done, total: progress.report("checking the rows", done, total)
        )
        answers = answer_all(
            generator,
            [row.prompt for row in usable],
            Sampling(samples, temperature, seed, max_new_tokens),
            on_progress=lambda done: progress.report("answering", done, len(usable)),
        )
        attempts = [
            Attempt(answer.code, row.code, row.extra["check"])
            for row, both in zip(usable, answers, strict=True)
            for answer in (*both.model, *both.system)
        ]
        reasons = why_failed(sandbox, attempts, lambda done, total: progress.report("judging", done, total))
    training_rows = generator.retrieval or RetrievalIndex([])
    outcomes = row_outcomes(
        usable,
        answers,
        reasons,
        training_rows,
        workers=workers,
        on_progress=lambda done: progress.report("comparing", done, len(usable)),
    )
    return EvaluationReport(
        model_id=generator.model_id,
        created_at=time.time(),
        samples=samples,
        temperature=temperature,
        seed=seed,
        seconds=round(time.monotonic() - started_at, 2),
        training_rows=len(training_rows),
        sandbox_layers=layers,
        what_this_is_not=WHAT_THIS_IS_NOT,
        overall=Group.of("all", outcomes, samples),
        by_split=groups_by(outcomes, samples, lambda outcome: outcome.split),
        by_topic=groups_by(outcomes, samples, lambda outcome: outcome.family.partition(".")[0]),
        by_family=groups_by(outcomes, samples, lambda outcome: outcome.family),
        outcomes=outcomes,
        broken_rows=broken,
        rows_without_check=len(rows) - len(checked),
    )


def _split_by_own_code(
    sandbox: Sandbox, rows: Sequence[Row], on_progress: Callable[[int, int], None]
) -> tuple[list[Row], list[BrokenRow]]:
    """The rows whose own code passes its check, and those whose own code fails. Raises `InvalidDataset` if all fail."""
    reasons = why_failed(sandbox, [Attempt(row.code, row.code, row.extra["check"]) for row in rows], on_progress)
    usable = [row for row, reason in zip(rows, reasons, strict=True) if not reason]
    broken = [BrokenRow(prompt=row.prompt, reason=reason) for row, reason in zip(rows, reasons, strict=True) if reason]
    if not usable:
        raise InvalidDataset(f"Every row's own code fails its check; the first: {broken[0].reason}")
    return usable, broken
