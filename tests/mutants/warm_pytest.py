"""pytest in a forked process: what is slow to import is imported once, and what is mutated is read anew by each fork.

`python warm_pytest.py serve SOCKET ARGUMENT...` forks a pytest for every connection to `SOCKET`;
`python warm_pytest.py run SOCKET` asks it for one, and leaves with its exit code. If the one who asked is killed, so is
the pytest.
"""

import contextlib
import importlib
import os
import select
import signal
import socket
import sys

SLOW_TO_IMPORT = """
torch numpy numba hypothesis pytest redis rq fastapi fastapi_offline httpx uvicorn pydantic pydantic_settings structlog
psutil rapidfuzz tenacity limits prometheus_client tokenizers openai asgi_correlation_id rich typer
"""
LOOK_EVERY_SECONDS = 0.02


def serve(path: str, arguments: list[str]) -> None:
    for name in SLOW_TO_IMPORT.split():
        importlib.import_module(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    while True:
        connection, _ = listener.accept()
        child = os.fork()
        if child == 0:
            listener.close()
            _run_pytest(arguments)
        with connection:
            code = _outcome(child, connection)
            if code is not None:
                connection.sendall(bytes([code]))


def _run_pytest(arguments: list[str]) -> None:
    code = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        import pytest

        code = int(pytest.main(arguments))
    finally:
        os._exit(code)


def _outcome(child: int, connection: socket.socket) -> int | None:
    """The child's exit code; None if the client went away first. Ends all that the child has started."""
    code = None
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status) & 0xFF
            break
        readable, _, _ = select.select([connection], [], [], LOOK_EVERY_SECONDS)
        if readable:  # the client says nothing, so it has gone
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
    return code


def run(path: str) -> int:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        answer = connection.recv(1)
    return answer[0] if answer else 1


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(run(sys.argv[2]))
