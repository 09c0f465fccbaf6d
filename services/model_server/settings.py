"""What the model server reads from the environment, beside what every service reads."""

from pydantic import Field

from tinygpt.inference.retrieval import SIMILARITY_FLOOR
from tinygpt.runtime.settings import Settings


class ModelServerSettings(Settings):
    model_server_host: str = Field(default="127.0.0.1", description="Address to listen on.")
    model_server_port: int = Field(default=8001, ge=1, le=65535, description="Port to listen on.")
    model_server_follow_seconds: float = Field(
        default=1.0, gt=0, le=60, description="How often to look for a newly promoted model."
    )
    model_server_decode_threads: int = Field(default=2, ge=1, le=256, description="Requests decoded at the same time.")
    model_server_max_in_flight: int = Field(
        default=64, ge=1, le=4096, description="Requests held at most, decoding or waiting for a thread."
    )
    model_server_drain_seconds: int = Field(
        default=4, ge=0, le=600, description="On SIGTERM, how long requests under way may take to finish."
    )
    similarity_floor: float = Field(
        default=SIMILARITY_FLOOR, ge=0, le=100, description="Retrieval below this similarity gives no answer."
    )
