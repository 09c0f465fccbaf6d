"""Reads a whole file of rows and reports everything that is wrong with it, and what it holds."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tinygpt.contracts.datasets import ProblemKind, RowProblem, RowStatistics, ValidationReport
from tinygpt.contracts.errors import InvalidDataset
from tinygpt.data.rows import Format, Row, ScannedRow, scan_rows
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
    """Read every row of `path`. The file is fit for training if `report.ok`."""
    validation = Validation(context_length)
    for _ in validation.good_rows(scan_rows(path, format)):
        pass
    return validation.report()


class Validation:
    """Looks at rows one by one, and reports at the end.

    `problems` of the report keeps the first `MAX_PROBLEMS` errors and as many warnings; the counts are of all.
    """

    def __init__(self, context_length: int = DEFAULT_CONTEXT_LENGTH) -> None:
        self.errors = 0
        self.warnings = 0
        self._context_length = context_length
        self._problems: list[RowProblem] = []
        self._lengths: list[int] = []
        self._characters: set[str] = set()
        self._seen: dict[str, dict[int, int]] = {}

    def good_rows(self, scanned: Iterable[ScannedRow]) -> Iterator[Row]:
        """The rows without errors, as they come."""
        try:
            for line, row in scanned:
                if isinstance(row, RowProblem):
                    self._add(row)
                    continue
                length = token_length(row)
                if length > self._context_length:
                    self._add(
                        RowProblem(
                            line=line,
                            kind=ProblemKind.TOO_LONG,
                            message=f"{length} tokens, longer than the context of {self._context_length}: shorten the "
                            "row, or train with a larger context_length.",
                        )
                    )
                    continue
                self._compare_with_seen(row, line)
                self._lengths.append(length)
                self._characters.update(row.prompt, row.code)
                yield row
        except InvalidDataset as error:
            self._add(RowProblem(line=1, kind=ProblemKind.NOT_JSON, message=error.message))

    def report(self) -> ValidationReport:
        """What was found, after the last row."""
        if not self._lengths and not self.errors:
            message = "the file has no rows: give it prompts with their code."
            self._add(RowProblem(line=1, kind=ProblemKind.NO_ROWS, message=message))
        return ValidationReport(
            errors=self.errors, warnings=self.warnings, problems=self._problems, statistics=self._statistics()
        )

    def _add(self, problem: RowProblem) -> None:
        if problem.kind.is_warning:
            self.warnings += 1
            alike = self.warnings
        else:
            self.errors += 1
            alike = self.errors
        if alike <= MAX_PROBLEMS:
            self._problems.append(problem)

    def _compare_with_seen(self, row: Row, line: int) -> None:
        """Point out a row that repeats an earlier one, or gives its prompt other code. `_seen` has, for every prompt,
        the hash of each of its codes with the line where it first stood."""
        lines = self._seen.setdefault(normalise(row.prompt), {})
        earlier = lines.get(hash(row.code))
        if earlier is not None:
            message = f"the same row as line {earlier}: it counts once."
            self._add(RowProblem(line=line, kind=ProblemKind.DUPLICATE, message=message))
        elif lines:
            message = f"the prompt of line {next(iter(lines.values()))} with different code."
            self._add(RowProblem(line=line, kind=ProblemKind.CONFLICT, message=message))
        lines.setdefault(hash(row.code), line)

    def _statistics(self) -> RowStatistics:
        if not self._lengths:
            return RowStatistics(context_length=self._context_length)
        ordered = sorted(self._lengths)
        return RowStatistics(
            rows=len(ordered),
            distinct_prompts=len(self._seen),
            unique_characters=len(self._characters),
            median_length=ordered[len(ordered) // 2],
            p95_length=ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))],
            max_length=ordered[-1],
            context_length=self._context_length,
            context_filled=round(sum(ordered) / len(ordered) / self._context_length, 4),
        )
