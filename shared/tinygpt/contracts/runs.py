"""A training run: its request, its states and the edges between them, its progress and its record."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tinygpt.contracts.datasets import RowIn
from tinygpt.contracts.errors import ErrorDetail

BundledDataset = Literal["bundled", "curated"]
BUNDLED_DATASETS: tuple[BundledDataset, ...] = get_args(BundledDataset)
DEFAULT_DATASET: BundledDataset = "bundled"
"""`curated`: the rows written by hand. `bundled`: those and many grown from families."""


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return not TRANSITIONS[self]


TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.CANCELLED}),
    RunState.RUNNING: frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.QUEUED}),
    RunState.SUCCEEDED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.CANCELLED: frozenset(),
}
"""All edges. `running -> queued`: the worker was lost, or had to yield."""


class TrainRequest(BaseModel):
    """`POST /train`. Every field has a default: `{}` trains the default preset on the bundled data."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"preset": "quick-start"},
                {"dataset": "d-5f2b9c1e7a3d4b60", "model": "small", "max_seconds": 600, "seed": 1},
            ]
        },
    )

    dataset: str = Field(
        default=DEFAULT_DATASET,
        description="`bundled`, `curated`, or the id that `POST /datasets` returned.",
        max_length=64,
    )
    rows: Annotated[list[RowIn], Field(min_length=1, max_length=20_000)] | None = Field(
        default=None, description="Rows to train on, instead of `dataset`."
    )
    preset: Literal["quick-start", "default", "classic"] = Field(
        default="default",
        description="`quick-start`: about 75 s on 2 cores; `default`: at most 10 minutes; `classic`: the tutorial's "
        "network and AdamW alone, for comparison, at most 10 minutes.",
    )
    model: Literal["tiny", "small"] | None = Field(default=None, description="The size, instead of the preset's.")
    context_length: int | None = Field(default=None, ge=16, le=4096, description="Tokens, prompt and code together.")
    batch_size: int | None = Field(default=None, ge=1, le=1024, description="Rows in a step, on average.")
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="AdamW's peak; those of Muon and of the n-grams are scaled by the same factor.",
    )
    dropout: float | None = Field(default=None, ge=0, lt=1)
    max_steps: int | None = Field(default=None, ge=1, le=10_000_000)
    max_seconds: float | None = Field(default=None, gt=0, le=7 * 24 * 3600, description="Time budget of the run.")
    seed: int = Field(default=0, ge=0, lt=2**31)
    promote: Literal["auto", "always", "never"] = Field(
        default="auto", description="`auto`: serve the new model only if it is better than the served one."
    )

    @model_validator(mode="after")
    def _one_source_of_rows(self) -> Self:
        if self.rows is not None and self.dataset != DEFAULT_DATASET:
            raise ValueError("give either rows or dataset, not both")
        return self


class Progress(BaseModel):
    """The progress of a run."""

    step: int
    max_steps: int | None = None
    elapsed_seconds: float
    seconds_left: float | None = None
    train_loss: float | None = Field(default=None, description="Nats per character of code, recent mean.")
    validation_loss: float | None = Field(default=None, description="Nats per character of code, last evaluation.")
    best_validation_loss: float | None = None
    tokens_per_second: float | None = Field(default=None, description="Labelled tokens.")


class RunMetrics(BaseModel):
    """The results of a finished run."""

    steps: int
    seconds: float
    validation_loss: float = Field(description="Of the best checkpoint, nats per character of code.")
    bits_per_character: float
    parameters: int
    training_rows: int
    validation_rows: int
    rows_cut: int = Field(0, description="Training rows longer than the context: only their beginning is learned.")
    rows_left_out: int = Field(
        0, description="Training rows whose prompt alone fills the context: they are not learned."
    )
    stopped_by: str = Field(description="max_steps, max_seconds, patience or stop_requested")


class Promotion(BaseModel):
    """Whether the run's model is served, and why."""

    promoted: bool
    reason: str
    bits_per_character: float | None = None
    served_bits_per_character: float | None = None


class RunRecord(BaseModel):
    """`GET /train/{id}`. Times are seconds since the epoch."""

    run_id: str
    state: RunState
    request: TrainRequest = Field(description="As accepted; rows sent in the body are stored as `dataset`.")
    dataset_id: str
    origin: Literal["api", "quick-start"] = "api"
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    attempt: int = Field(default=0, description="How many workers have started on it.")
    cancel_requested: bool = False
    progress: Progress | None = None
    metrics: RunMetrics | None = None
    promotion: Promotion | None = None
    error: ErrorDetail | None = None


class RunList(BaseModel):
    """Newest first."""

    runs: list[RunRecord]


class RunEvent(BaseModel):
    """One line of `events.jsonl` and one server-sent event. `id` orders the events of a run."""

    id: str = ""
    type: Literal["state", "progress", "evaluation"]
    at: float = Field(description="Seconds since the epoch.")
    data: dict[str, Any]
