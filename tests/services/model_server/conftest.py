"""A model server under a real uvicorn, what its tests look at, and a gate that holds its decoder."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest

from services.model_server.app import create_app
from services.model_server.settings import ModelServerSettings
from tests.conftest import wait_until
from tests.services.conftest import StoreModel, serving, store_scripted_model
from tinygpt.contracts.models import (
    ModelServerHealth,
)
from tinygpt.inference.decoder import SlotOutput
from tinygpt.inference.torch_decoder import TorchDecoder
from tinygpt.runtime.volume import Volume

ANSWER = "def double_all(numbers):\n    return [2 * number for number in numbers]"

Server = Callable[..., httpx.Client]


@pytest.fixture
def server(model_server_settings: ModelServerSettings) -> Iterator[Server]:
    """`server(**settings)`: a client of a model server under a real uvicorn."""
    with contextlib.ExitStack() as stack:

        def start(**settings: Any) -> httpx.Client:
            url = stack.enter_context(serving(create_app(model_server_settings.model_copy(update=settings))))
            return stack.enter_context(httpx.Client(base_url=url, timeout=30, trust_env=False))

        yield start


def health(server: httpx.Client) -> ModelServerHealth:
    return ModelServerHealth.model_validate_json(server.get("/health").content)


def wait_for_model(server: httpx.Client, model_id: str) -> None:
    def served() -> bool:
        model = health(server).model
        return model is not None and model.model_id == model_id

    wait_until(served, f"{model_id} is served", seconds=90)  # kernels may have to be compiled


def promoted(volume: Volume, store_model: StoreModel, run_id: str) -> str:
    store_model(run_id)
    volume.promote(run_id)
    return run_id


class Gate:
    """While it is shut, the PyTorch decoders that were there write nothing. Stands in for long answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._opened = threading.Event()
        self._opened.set()
        self._decoders: set[TorchDecoder] = set()
        self._steps_left = 0
        step = TorchDecoder.step

        def gated(decoder: TorchDecoder, steps: int = 1) -> Sequence[SlotOutput]:
            if self._opened.is_set():
                self._decoders.add(decoder)
            elif decoder in self._decoders:
                if self._steps_left == 0 and not self._opened.wait(0.01):
                    return []
                self._steps_left -= 1
            return step(decoder, steps)

        monkeypatch.setattr(TorchDecoder, "step", gated)

    def shut(self, *, after_steps: int = 0) -> None:
        self._steps_left = after_steps
        self._opened.clear()

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open()


def count(server: httpx.Client, metric: str) -> float:
    """The value of one line of /metrics, 0 where it is not there yet."""
    lines = (line.rsplit(" ", 1) for line in server.get("/metrics").text.splitlines())
    return next((float(value) for name, value in lines if name == metric), 0.0)


@contextlib.contextmanager
def sent(server: httpx.Client, request: dict[str, Any]) -> Iterator[None]:
    """A request whose client hangs up at the end, without having read anything."""
    body = json.dumps(request).encode()
    with socket.create_connection((str(server.base_url.host), server.base_url.port or 0)) as leaving:
        leaving.sendall(
            b"POST /generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        yield


@pytest.fixture
def served(server: Server, volume: Volume, store_model: StoreModel, gate: Gate) -> httpx.Client:
    """A client of a server with one slot and one place to wait, on PyTorch; the gate has seen its decoder."""
    promoted(volume, store_model, "r-1")
    client = server(model_server_slots=1, model_server_max_waiting=1, model_server_decoder="torch")
    wait_for_model(client, "r-1")
    return client


@pytest.fixture
def scripted(server: Server, volume: Volume, gate: Gate) -> httpx.Client:
    """A server of a model that answers `PROMPT` with `ANSWER`, on PyTorch; the gate has seen its decoder."""
    store_scripted_model(volume, "r-1", ANSWER)
    client = server(model_server_decoder="torch", model_server_slots=4)
    wait_for_model(client, "r-1")
    return client
