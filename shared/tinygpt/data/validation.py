"""Reads a whole file of rows and reports everything that is wrong with it, and what it holds."""

from pathlib import Path

from tinygpt.contracts.datasets import ProblemKind, RowProblem, RowStatistics, ValidationReport
from tinygpt.contracts.errors import InvalidDataset
from tinygpt.data.rows import Format, Row, scan_rows
from tinygpt.data.split import normalise

DEFAULT_CONTEXT_LENGTH = 512
MAX_PROBLEMS = 100
_CONTROL_TOKENS_A_ROW = 3


def token_length(row: Row) -> int:
    """Tokens of the whole example, a character each: `<PROMPT>`, prompt, `<CODE>`, code, `<EOS>`."""
    return len(row.prompt) + len(row.code) + _CONTROL_TOKENS_A_ROW


def validate(
    path: Path, *, format: Format | None = None, context_length: int = DEFAULT_CONTEXT_LENGTH
) -> ValidationReport:
    """Read every row of `path`. The file is fit for training when `report.ok`.

    `problems` keeps the first `MAX_PROBLEMS` errors and as many warnings; the counts are of all.
    """
    report = _Report()
    lengths: list[int] = []
    characters: set[str] = set()
    seen: dict[str, dict[int, int]] = {}
    try:
        for line, row in scan_rows(path, format):
            if isinstance(row, RowProblem):
                report.add(row)
                continue
            length = token_length(row)
            if length > context_length:
                report.add(
                    RowProblem(
                        line=line,
                        kind=ProblemKind.TOO_LONG,
                        message=f"{length} tokens, longer than the context of {context_length}: shorten the row, "
                        "or train with a larger context_length.",
                    )
                )
                continue
            _compare_with_seen(seen, row, line, report)
            lengths.append(length)
            characters.update(row.prompt, row.code)
    except InvalidDataset as error:
        report.add(RowProblem(line=1, kind=ProblemKind.NOT_JSON, message=error.message))
    if not lengths and not report.errors:
        report.add(
            RowProblem(
                line=1, kind=ProblemKind.NO_ROWS, message="the file has no rows: give it prompts with their code."
            )
        )
    return ValidationReport(
        errors=report.errors,
        warnings=report.warnings,
        problems=report.problems,
        statistics=_statistics(lengths, len(characters), context_length),
    )


class _Report:
    def __init__(self) -> None:
        self.errors = 0
        self.warnings = 0
        self.problems: list[RowProblem] = []

    def add(self, problem: RowProblem) -> None:
        if problem.kind.is_warning:
            self.warnings += 1
            alike = self.warnings
        else:
            self.errors += 1
            alike = self.errors
        if alike <= MAX_PROBLEMS:
            self.problems.append(problem)


def _compare_with_seen(seen: dict[str, dict[int, int]], row: Row, line: int, report: _Report) -> None:
    """Point out a row that repeats an earlier one, or gives its prompt other code. `seen` has, for every prompt, the
    hash of each of its codes with the line where it first stood."""
    lines = seen.setdefault(normalise(row.prompt), {})
    earlier = lines.get(hash(row.code))
    if earlier is not None:
        report.add(
            RowProblem(
                line=line, kind=ProblemKind.DUPLICATE, message=f"the same row as line {earlier}: it counts once."
            )
        )
    elif lines:
        first_line = next(iter(lines.values()))
        report.add(
            RowProblem(
                line=line, kind=ProblemKind.CONFLICT, message=f"the prompt of line {first_line} with different code."
            )
        )
    lines.setdefault(hash(row.code), line)


def _statistics(lengths: list[int], unique_characters: int, context_length: int) -> RowStatistics:
    if not lengths:
        return RowStatistics(context_length=context_length)
    ordered = sorted(lengths)
    return RowStatistics(
        rows=len(ordered),
        unique_characters=unique_characters,
        median_length=ordered[len(ordered) // 2],
        p95_length=ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))],
        max_length=ordered[-1],
        context_length=context_length,
        context_filled=round(sum(ordered) / len(ordered) / context_length, 4),
    )
