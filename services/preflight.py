"""`python -m services.preflight`: before `make run` starts anything, check its ports and its volume."""

import os
import sys
from pathlib import Path
from urllib.parse import urlparse

from services.gateway.settings import GatewaySettings
from services.model_server.settings import ModelServerSettings
from tinygpt.http.server import bind_or_exit
from tinygpt.runtime.settings import load_settings


def main() -> None:
    gateway, model_server = load_settings(GatewaySettings), load_settings(ModelServerSettings)
    redis = urlparse(gateway.redis_url)
    ports = (
        (gateway.gateway_host, gateway.gateway_port, "TINYGPT_GATEWAY_PORT"),
        (
            model_server.model_server_host,
            model_server.model_server_port,
            "TINYGPT_MODEL_SERVER_PORT and TINYGPT_MODEL_SERVER_URLS",
        ),
        (redis.hostname or "127.0.0.1", redis.port or 6379, "TINYGPT_REDIS_URL"),
    )
    for host, port, setting in ports:
        bind_or_exit(host, port, setting).close()
    _require_writable(gateway.home)


def _require_writable(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"{home} can't be created ({error.strerror}): set TINYGPT_HOME to a folder that can be written.")
    if not os.access(home, os.W_OK):
        sys.exit(f"{home} can't be written: set TINYGPT_HOME to a folder that can.")


if __name__ == "__main__":
    main()
