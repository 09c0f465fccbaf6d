"""What the model server reads from the environment, beside what every service reads."""

from typing import Literal

from pydantic import Field

from tinygpt.contracts.models import SERVED_WEIGHTS, WeightFormat
from tinygpt.inference.retrieval import SIMILARITY_FLOOR
from tinygpt.runtime.settings import Settings


class ModelServerSettings(Settings):
    model_server_host: str = Field(default="127.0.0.1", description="Address to listen on.")
    model_server_port: int = Field(default=8001, ge=1, le=65535, description="Port to listen on.")
    model_server_follow_seconds: float = Field(
        default=1.0, gt=0, le=60, description="How often to look for a newly promoted model."
    )
    model_server_slots: int = Field(default=32, ge=1, le=1024, description="Answers written side by side.")
    model_server_max_waiting: int = Field(
        default=256, ge=0, le=65536, description="Answers waiting for a slot; one more gets 429."
    )
    model_server_decoder: Literal["auto", "torch", "compiled"] = Field(
        default="auto", description="`compiled` for this CPU, `torch` for any device; `auto`: compiled where it can be."
    )
    model_server_weights: WeightFormat = Field(
        default=SERVED_WEIGHTS,
        description="How the compiled decoder holds weights, keys and values. bfloat16 is what training computes in; "
        "int8 passes as many checks and is up to twice as fast, most of all on processors with VNNI.",
    )
    model_server_decode_threads: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Cores that the compiled decoder uses; if unset, all that the process may (affinity, quota).",
    )
    model_server_drain_seconds: int = Field(
        default=4, ge=0, le=600, description="On SIGTERM, how long requests under way may take to finish."
    )
    similarity_floor: float = Field(
        default=SIMILARITY_FLOOR, ge=0, le=100, description="Retrieval below this similarity gives no answer."
    )
