"""Datasets on the wire: a row, what can be wrong with it, the report on a file, and the card of a stored dataset."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class ProblemKind(StrEnum):
    """What can be wrong with a row. The first group are errors, the second group are warnings."""

    INVALID_UTF8 = "invalid_utf8"
    NUL_CHARACTER = "nul_character"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    KEY_MISSING = "key_missing"
    NOT_TEXT = "not_text"
    BLANK = "blank"
    TOO_LONG = "too_long"
    NO_ROWS = "no_rows"

    DUPLICATE = "duplicate"
    CONFLICT = "conflict"

    @property
    def is_warning(self) -> bool:
        return self in {ProblemKind.DUPLICATE, ProblemKind.CONFLICT}


class RowProblem(BaseModel):
    """One thing wrong with one row. `line` is counted from 1, as an editor shows it (a CSV's header is line 1)."""

    line: int
    kind: ProblemKind
    message: str


class RowStatistics(BaseModel):
    """Lengths are in tokens of a whole example: `<PROMPT>`, prompt, `<CODE>`, code, `<EOS>`."""

    rows: int = 0
    distinct_prompts: int = Field(default=0, description="Prompts that differ in more than case and spaces.")
    unique_characters: int = 0
    median_length: int = 0
    p95_length: int = 0
    max_length: int = 0
    context_length: int = Field(default=0, description="The token budget of a row.")
    context_filled: float = Field(default=0.0, description="Share of that budget that a row uses, on average.")


class ValidationReport(BaseModel):
    """The whole file read: every problem, and statistics over the good rows.

    `problems` holds the first hundred errors and as many warnings; `errors` and `warnings` count all of them.
    """

    errors: int = 0
    warnings: int = 0
    problems: list[RowProblem] = []
    statistics: RowStatistics = RowStatistics()

    @property
    def ok(self) -> bool:
        return self.errors == 0


class DatasetCard(BaseModel):
    """What `datasets/<dataset_id>/card.json` holds. The id is the hash of the rows: same rows, same id."""

    dataset_id: str = Field(examples=["d-5f2b9c1e7a3d4b60"])
    name: str
    created_at: float = Field(description="Seconds since the epoch.")
    size_bytes: int
    report: ValidationReport


class RowIn(BaseModel):
    """A row in a request body: further keys are allowed and kept."""

    model_config = ConfigDict(extra="allow")

    prompt: str = Field(min_length=1, examples=["reverse the list nums"])
    code: str = Field(min_length=1, examples=["nums[::-1]"])
