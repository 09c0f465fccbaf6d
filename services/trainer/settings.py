"""The trainer's settings, in addition to those of every service."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from tinygpt.runtime.settings import Settings
from tinygpt.training.tracking import TrackerName


class TrainerSettings(Settings):
    trainer_threads: int | None = Field(
        default=None, ge=1, description="CPU threads of a training run. If unset: all cores."
    )
    trainer_alive_file: Path = Field(
        default=Path("/tmp/tinygpt-trainer-alive"),
        description="File that the worker touches while it works. Its health check looks at it.",
    )
    trainer_track: Annotated[tuple[TrackerName, ...], NoDecode] = Field(
        default=(), description="Trackers beside TensorBoard: `wandb`, `mlflow`, separated by commas."
    )

    @field_validator("trainer_track", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = [name.strip() for name in value.split(",") if name.strip()]
        if not set(names) <= set(TrackerName):
            raise ValueError(f"give any of {', '.join(TrackerName)}, with commas between")
        return names
