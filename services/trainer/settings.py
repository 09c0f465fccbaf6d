"""What the trainer reads from the environment, beside what every service reads."""

from pathlib import Path

from pydantic import Field

from tinygpt.runtime.settings import Settings


class TrainerSettings(Settings):
    trainer_threads: int | None = Field(default=None, ge=1, description="CPU threads of a run; all cores if unset.")
    trainer_alive_file: Path = Field(
        default=Path("/tmp/tinygpt-trainer-alive"), description="Touched while the worker turns; its health check."
    )
