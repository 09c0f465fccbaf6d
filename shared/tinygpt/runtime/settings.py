"""Settings: read once in `main` from the environment and `.env`, then passed on as a typed object."""

import sys
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ENV_PREFIX = "TINYGPT_"


class Settings(BaseSettings):
    """Settings of every service. Each field is the variable `TINYGPT_<NAME>`; `.env.example` lists them all."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_file=".env", extra="ignore", env_ignore_empty=True)

    home: Path = Field(default=Path("var"), description="Folder for datasets, runs and models: the volume.")
    redis_url: str = Field(default="redis://127.0.0.1:6390/0", description="Address of Redis.")
    redis_password: SecretStr | None = Field(default=None, description="Password of Redis, if it has one.")
    log_format: Literal["console", "json"] = Field(
        default="console", description="`console` for people, `json` for log collectors."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Lowest level that is logged: `debug`, `info`, `warning` or `error`."
    )
    lease_seconds: float = Field(
        default=30.0,
        ge=1,
        le=600,
        description="If a worker is silent for this many seconds, its run goes back to the queue.",
    )

    @field_validator("redis_url")
    @classmethod
    def _of_redis(cls, url: str) -> str:
        if not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("give a redis://, rediss:// or unix:// address")
        return url


AnySettings = TypeVar("AnySettings", bound=Settings)


def load_settings(kind: type[AnySettings]) -> AnySettings:
    """Read `kind` from the environment. If a value is invalid, print a sentence that names it, and exit 2."""
    try:
        return kind()
    except ValidationError as error:
        for problem in error.errors():
            name = ENV_PREFIX + "_".join(str(part) for part in problem["loc"]).upper()
            print(f"{name}={problem['input']!r} can't be used: {problem['msg']}. See .env.example.", file=sys.stderr)
        raise SystemExit(2) from None
