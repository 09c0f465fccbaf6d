"""What the gateway reads from the environment, beside what every service reads."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from tinygpt.runtime.settings import Settings


class GatewaySettings(Settings):
    gateway_host: str = Field(default="127.0.0.1", description="Address to listen on.")
    gateway_port: int = Field(default=8000, ge=1, le=65535, description="Port to listen on.")
    public_url: str | None = Field(
        default=None, description="Where clients reach the gateway, if not at its host and port."
    )
    model_server_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("http://127.0.0.1:8001",), description="Model servers, with commas between."
    )
    request_timeout: float = Field(
        default=30.0, gt=0, le=600, description="Seconds that an answer, or its stream, may take in all."
    )
    max_in_flight: int = Field(default=64, ge=1, le=4096, description="Requests at the model servers at once.")
    max_queue: int = Field(default=128, ge=0, le=65536, description="Requests waiting for a place; one more gets 429.")
    max_queued_runs: int = Field(default=16, ge=1, le=10_000, description="Training runs that have not ended.")
    max_upload_mb: float = Field(default=96.0, gt=0, le=4096, description="Largest dataset upload, in MB.")
    max_event_streams: int = Field(default=64, ge=1, le=4096, description="Clients following runs at once.")
    api_keys: SecretStr = Field(
        default=SecretStr(""),
        description="`key:scope,scope;key:scope`, scopes generate and train. Empty: the door is open.",
    )
    rate_limit: str = Field(default="", description="Per key (or address), such as `60/minute`. Empty: none.")
    quick_start: bool = Field(default=True, description="With no model on the volume, train one at once.")
    gateway_drain_seconds: int = Field(
        default=4, ge=0, le=600, description="On SIGTERM, how long requests under way may take to finish."
    )

    @field_validator("model_server_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [url.strip().rstrip("/") for url in value.split(",") if url.strip()] if isinstance(value, str) else value

    @field_validator("model_server_urls")
    @classmethod
    def _at_least_one(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        if not urls or not all(url.startswith(("http://", "https://")) for url in urls):
            raise ValueError("give at least one http:// or https:// address")
        return urls

    @property
    def door(self) -> str:
        """The address that a person types."""
        return self.public_url or f"http://{self.gateway_host}:{self.gateway_port}"
