"""The gateway's settings, in addition to those of every service."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from tinygpt.runtime.settings import Settings


class GatewaySettings(Settings):
    gateway_host: str = Field(default="127.0.0.1", description="Address that the gateway listens on.")
    gateway_port: int = Field(default=8000, ge=1, le=65535, description="Port that the gateway listens on.")
    public_url: str | None = Field(
        default=None, description="Address of the gateway that clients use, if it is not its host and port."
    )
    model_server_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("http://127.0.0.1:8001",), description="Addresses of the model servers, separated by commas."
    )
    request_timeout: float = Field(
        default=30.0, gt=0, le=600, description="Maximum seconds for a request, streaming included."
    )
    max_in_flight: int = Field(
        default=64, ge=1, le=4096, description="Requests that the model servers work on at once."
    )
    max_queue: int = Field(
        default=128, ge=0, le=65536, description="Requests that may wait for a place. One more gets 429."
    )
    max_queued_runs: int = Field(
        default=16, ge=1, le=10_000, description="Training runs that may be queued or running. One more gets 429."
    )
    max_upload_mb: float = Field(default=96.0, gt=0, le=4096, description="Largest dataset upload, in MB.")
    max_event_streams: int = Field(
        default=64, ge=1, le=4096, description="Clients that may follow training runs at once. One more gets 429."
    )
    api_keys: SecretStr = Field(
        default=SecretStr(""),
        description="Keys and their scopes: `key:generate,train;key:generate`. Empty: no key is needed.",
    )
    rate_limit: str = Field(
        default="", description="Maximum requests per key (or per address), such as `60/minute`. Empty: no limit."
    )
    quick_start: bool = Field(default=True, description="If the volume has no model, train one at start-up.")
    gateway_drain_seconds: int = Field(
        default=4, ge=0, le=600, description="Seconds that requests in progress get to finish after SIGTERM."
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
    def url(self) -> str:
        """The address that clients use."""
        return self.public_url or f"http://{self.gateway_host}:{self.gateway_port}"
