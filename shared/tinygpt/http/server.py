"""The server process: bind a port or say why not, serve, drain on SIGTERM."""

import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI


def serve(
    app: FastAPI,
    *,
    host: str,
    port: int,
    port_setting: str,
    drain_seconds: int,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or SIGINT. Then call `on_stop` and give current requests `drain_seconds` to finish."""

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            on_stop()
            super().handle_exit(sig, frame)

    with bind_or_exit(host, port, port_setting) as listener:
        config = uvicorn.Config(
            app, log_config=None, access_log=False, timeout_graceful_shutdown=drain_seconds, server_header=False
        )
        Server(config).run(sockets=[listener])


def bind_or_exit(host: str, port: int, port_setting: str) -> socket.socket:
    """A listening socket. If the port is taken, prints one sentence that says what to do, and exits with 1."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    if sys.platform != "win32":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # two processes may bind before either listens, but only one can listen
    except OSError as error:
        listener.close()
        sys.exit(
            f"Can't listen on {host}:{port} ({error.strerror}): stop the program that uses the port, "
            f"or set {port_setting} to another."
        )
    return listener
