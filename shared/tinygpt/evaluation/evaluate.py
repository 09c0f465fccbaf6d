"""The whole evaluation: answer, judge, compare, count."""

import ast
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tinygpt.contracts.errors import InvalidDataset
from tinygpt.data.rows import Row
from tinygpt.evaluation.answers import Answer, BothAnswers, Sampling, answer_all
from tinygpt.evaluation.judge import Attempt, why_failed
from tinygpt.evaluation.limits import Limits
from tinygpt.evaluation.report import Answered, BrokenRow, EvaluationReport, Group, RowOutcome
from tinygpt.evaluation.sandbox import WHAT_THIS_IS_NOT, Sandbox
from tinygpt.evaluation.syntax_tree import SameCode, normalised
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.postprocess import parses, tree_of
from tinygpt.inference.retrieval import RetrievalIndex

Phase = Literal["checking the rows", "answering", "judging", "comparing"]


@dataclass(frozen=True)
class EvaluationProgress:
    """`seconds_left` is of this phase; None until there is something to go by."""

    phase: Phase
    done: int
    total: int
    seconds_left: float | None


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

    Rows without a `check` are left out, and so are rows whose own code fails its check here. What `on_progress` raises
    stops the evaluation and leaves nothing behind. `workers` processes judge; the generator answers as it was made to.
    An answer is new unless it is in the rows of `generator.retrieval`; with no retrieval all are.

    Raises:
        InvalidDataset: no row has a check that its own code passes.
        SandboxUnavailable: this machine can't run code apart.
        ValueError: many samples of a greedy answer, which are all the same.
    """
    if samples < 1 or (samples > 1 and temperature == 0):
        raise ValueError("several samples need a temperature above 0: greedy answers are all the same")
    started = time.monotonic()
    told = _Teller(on_progress)
    checked = [row for row in rows if isinstance(row.extra.get("check"), str)]
    if not checked:
        raise InvalidDataset("None of these rows has a `check`, the Python that says whether an answer is right.")
    with Sandbox(workers, limits=limits, modules=sorted(_modules_of(checked))) as sandbox:
        layers = sandbox.layers()
        references = why_failed(
            sandbox,
            [Attempt(row.code, row.code, row.extra["check"]) for row in checked],
            lambda done, total: told("checking the rows", done, total),
        )
        broken = [
            BrokenRow(prompt=row.prompt, reason=reason)
            for row, reason in zip(checked, references, strict=True)
            if reason
        ]
        usable = [row for row, reason in zip(checked, references, strict=True) if not reason]
        if not usable:
            raise InvalidDataset(f"Every row's own code fails its check; the first: {broken[0].reason}")
        answers = answer_all(
            generator,
            [row.prompt for row in usable],
            Sampling(samples, temperature, seed, max_new_tokens),
            on_done=lambda done: told("answering", done, len(usable)),
        )
        attempts = [
            Attempt(answer.code, row.code, row.extra["check"])
            for row, both in zip(usable, answers, strict=True)
            for answer in (*both.model, *both.system)
        ]
        reasons = why_failed(sandbox, attempts, lambda done, total: told("judging", done, total))
    trained = generator.retrieval or RetrievalIndex([])
    outcomes = _outcomes(usable, answers, reasons, trained, workers, lambda done: told("comparing", done, len(usable)))
    return EvaluationReport(
        model_id=generator.model_id,
        created_at=time.time(),
        samples=samples,
        temperature=temperature,
        seed=seed,
        seconds=round(time.monotonic() - started, 2),
        training_rows=len(trained),
        sandbox_layers=layers,
        what_this_is_not=WHAT_THIS_IS_NOT,
        overall=Group.of("all", outcomes, samples),
        by_split=_groups(outcomes, samples, lambda outcome: outcome.split),
        by_topic=_groups(outcomes, samples, lambda outcome: outcome.family.partition(".")[0]),
        by_family=_groups(outcomes, samples, lambda outcome: outcome.family),
        outcomes=outcomes,
        broken_rows=broken,
        rows_without_check=len(rows) - len(checked),
    )


def _modules_of(rows: Sequence[Row]) -> set[str]:
    """The modules that the rows' own codes and checks import."""
    names: set[str] = set()
    for text in (text for row in rows for text in (row.code, row.extra["check"]) if "import" in text):
        tree = tree_of(text)
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
    return names


def _outcomes(
    rows: Sequence[Row],
    answers: Sequence[BothAnswers],
    reasons: Sequence[str],
    trained: RetrievalIndex,
    workers: int,
    on_done: Callable[[int], object],
) -> list[RowOutcome]:
    known_code = SameCode(row.code for row in trained.rows)
    matches = trained.nearest_of_each([row.prompt for row in rows], workers=workers)
    remaining = iter(reasons)
    outcomes = []
    for row, both, match in zip(rows, answers, matches, strict=True):
        model = _answered(both.model, [next(remaining) for _ in both.model], row)
        system = _answered(both.system, [next(remaining) for _ in both.system], row)
        tree = normalised(model.code)
        outcomes.append(
            RowOutcome(
                prompt=row.prompt,
                expected=row.code,
                check=row.extra["check"],
                family=str(row.extra.get("family", "")),
                split=str(row.extra.get("split", "")),
                model=model,
                system=system,
                nearest_prompt=match.row.prompt if match else None,
                nearest_code=match.row.code if match else None,
                similarity=match.similarity if match else 0.0,
                memorised=bool(model.code) and match is not None and tree == normalised(match.row.code),
                seen_code=bool(model.code) and model.code in known_code,
            )
        )
        on_done(len(outcomes))
    return outcomes


def _answered(answers: Sequence[Answer], reasons: Sequence[str], row: Row) -> Answered:
    expected = normalised(row.code)
    return Answered(
        code=answers[0].code,
        source=answers[0].source,
        parsed=sum(parses(answer.code) for answer in answers),
        exact=sum(normalised(answer.code) == expected for answer in answers),
        passed=sum(not reason for reason in reasons),
        retrieved=sum(answer.source == "retrieval" for answer in answers),
        unanswered=sum(answer.source == "none" for answer in answers),
        reason=next((reason for reason in reasons if reason), ""),
    )


def _groups(outcomes: Sequence[RowOutcome], samples: int, name_of: Callable[[RowOutcome], str]) -> list[Group]:
    """One group a name, by name; none where no row has one."""
    members: defaultdict[str, list[RowOutcome]] = defaultdict(list)
    for outcome in outcomes:
        members[name_of(outcome)].append(outcome)
    if set(members) == {""}:
        return []
    return [Group.of(name or "(none)", members[name], samples) for name in sorted(members)]


class _Teller:
    """Adds the time that is left to each report of progress."""

    def __init__(self, on_progress: Callable[[EvaluationProgress], None]) -> None:
        self._on_progress = on_progress
        self._phase: Phase | None = None
        self._since = 0.0

    def __call__(self, phase: Phase, done: int, total: int) -> None:
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._since = phase, now
        elapsed = now - self._since
        left = elapsed / done * (total - done) if done and elapsed else None
        self._on_progress(EvaluationProgress(phase, done, total, left))
