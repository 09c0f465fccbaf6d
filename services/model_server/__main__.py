"""`python -m services.model_server`: serve until told to stop."""

import gc

gc.disable()  # Importing PyTorch takes a fifth longer with garbage collection.

# ruff: disable[E402]
import torch

from services.model_server.app import create_app
from services.model_server.settings import ModelServerSettings
from tinygpt.http.request_id import add_request_id
from tinygpt.http.server import serve
from tinygpt.runtime.logging import configure_logging
from tinygpt.runtime.settings import load_settings

# ruff: enable[E402]
gc.freeze()
gc.set_threshold(10_000, 10, 10)  # a hundred concurrent requests create more objects than the default of 700
gc.enable()


def main() -> None:
    settings = load_settings(ModelServerSettings)
    configure_logging("model_server", format=settings.log_format, level=settings.log_level, extra=[add_request_id])
    # One core per request, because a step of a small model is too short to share between cores.
    torch.set_num_threads(1)
    serve(
        create_app(settings),
        host=settings.model_server_host,
        port=settings.model_server_port,
        port_setting="TINYGPT_MODEL_SERVER_PORT",
        drain_seconds=settings.model_server_drain_seconds,
    )


if __name__ == "__main__":
    main()
