"""Models on the wire: the served one, the ones that could be served, and the health of the services."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from tinygpt.contracts.evaluation import EvaluationSummary
from tinygpt.contracts.runs import Promotion, RunMetrics

BEST_CHECKPOINT = "best.pt"
LAST_CHECKPOINT = "last.pt"
TRAINING_ROWS = "training_rows.jsonl"
"""The names of a run's files."""
WeightFormat = Literal["float32", "bfloat16", "int8"]
"""How the compiled decoder holds a model's weights, keys and values."""
SERVED_WEIGHTS: WeightFormat = "int8"
"""The default of a model server."""


class CurrentModel(BaseModel):
    """`models/current.json`: the run whose best checkpoint is served."""

    run_id: str
    sha256: str
    promoted_at: float
    previous: str | None = None


class FileEntry(BaseModel):
    sha256: str
    size_bytes: int


class Manifest(BaseModel):
    """`runs/<run_id>/manifest.json`, written when a run ends: files with their hashes, and what they reached."""

    run_id: str
    dataset_id: str
    created_at: float
    files: dict[str, FileEntry]
    metrics: RunMetrics
    hyperparameters: dict[str, Any]
    promotion: Promotion | None = None
    evaluation: EvaluationSummary | None = Field(
        default=None, description="On a sample of held-out rows with a `check`; null if no row has one."
    )


class ModelInfo(BaseModel):
    """One line of `GET /models`."""

    model_id: str = Field(description="The run that trained it.")
    current: bool
    created_at: float
    dataset_id: str
    metrics: RunMetrics
    evaluation: EvaluationSummary | None
    hyperparameters: dict[str, Any]


class ModelList(BaseModel):
    """Newest first."""

    models: list[ModelInfo]


class LoadedModel(BaseModel):
    """Metadata of the model in a model server's memory."""

    model_id: str
    sha256: str
    parameters: int
    hyperparameters: dict[str, Any]
    validation_loss: float | None
    retrieval_rows: int
    decoder: Literal["torch", "compiled"]
    weights: WeightFormat = Field(description="Number format of the decoder's weights.")
    loaded_at: float


class ModelServerHealth(BaseModel):
    """`GET /health` of the model server."""

    status: Literal["ok", "loading", "no_model"]
    reason: str | None = Field(default=None, description="Why there is no model, or why a newer one was not loaded.")
    model: LoadedModel | None = None
    uptime_seconds: float
    running: int = Field(description="Answers being written.")
    waiting: int = Field(description="Answers waiting for a slot.")


class GatewayHealth(BaseModel):
    """`GET /health` of the gateway: readiness with everything behind it."""

    status: Literal["ok", "degraded", "unavailable"] = Field(
        description="`ok`; `degraded`: generates, but can't train; `unavailable`: can't generate."
    )
    reason: str | None = None
    redis: Literal["ok", "unavailable"]
    model_servers: dict[str, ModelServerHealth | None]
    in_flight: int
    waiting: int
    queued_runs: int | None
    uptime_seconds: float


class Liveness(BaseModel):
    """`GET /livez`: whether the process is alive."""

    status: Literal["ok", "stalled"]
    last_step_seconds: float = Field(description="Seconds since the event loop last ran its tasks.")
