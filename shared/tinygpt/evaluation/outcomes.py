"""From answers and verdicts to one outcome per row, compared with the expected code and with the training rows."""

from collections.abc import Callable, Sequence

from tinygpt.data.rows import Row
from tinygpt.evaluation.answers import Answer, BothAnswers
from tinygpt.evaluation.report import Answered, RowOutcome
from tinygpt.evaluation.same_code import SameCode, normalised
from tinygpt.inference.postprocess import parses
from tinygpt.inference.retrieval import RetrievalIndex


def row_outcomes(
    rows: Sequence[Row],
    answers: Sequence[BothAnswers],
    reasons: Sequence[str],
    training_rows: RetrievalIndex,
    *,
    workers: int,
    on_progress: Callable[[int], object],
) -> list[RowOutcome]:
    """One outcome per row. `reasons` says why each answer failed, "" if it passed: for each row the model's samples,
    then the system's. `on_progress` gets the number of rows done."""
    known_code = SameCode(row.code for row in training_rows.rows)
    matches = training_rows.nearest_of_each([row.prompt for row in rows], workers=workers)
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
        on_progress(len(outcomes))
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
