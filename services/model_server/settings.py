"""The model server's settings, in addition to those of every service."""

from typing import Literal

from pydantic import Field

from tinygpt.contracts.models import SERVED_WEIGHTS, WeightFormat
from tinygpt.inference.retrieval import SIMILARITY_FLOOR
from tinygpt.runtime.settings import Settings


class ModelServerSettings(Settings):
    model_server_host: str = Field(default="127.0.0.1", description="Address that the model server listens on.")
    model_server_port: int = Field(default=8001, ge=1, le=65535, description="Port that the model server listens on.")
    model_server_follow_seconds: float = Field(
        default=1.0, gt=0, le=60, description="Seconds between two looks for a newly promoted model."
    )
    model_server_slots: int = Field(default=32, ge=1, le=1024, description="Answers that are decoded at once.")
    model_server_max_waiting: int = Field(
        default=256, ge=0, le=65536, description="Answers that may wait for a slot. One more gets 429."
    )
    model_server_decoder: Literal["auto", "torch", "compiled"] = Field(
        default="auto",
        description="`compiled`: fast, for CPUs. `torch`: any device. `auto`: `compiled` if it works here.",
    )
    model_server_weights: WeightFormat = Field(
        default=SERVED_WEIGHTS,
        description="Number format of the compiled decoder: `float32`, `bfloat16` or `int8`. `int8` solves as "
        "many tasks as `bfloat16`, and is up to twice as fast.",
    )
    model_server_decode_threads: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Threads of the compiled decoder. If unset: as many as the process may use.",
    )
    model_server_drain_seconds: int = Field(
        default=4, ge=0, le=600, description="Seconds that requests in progress get to finish after SIGTERM."
    )
    similarity_floor: float = Field(
        default=SIMILARITY_FLOOR,
        ge=0,
        le=100,
        description="Least similarity (0 to 100) of a training prompt whose code may replace an unusable answer.",
    )
