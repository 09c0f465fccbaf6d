"""A deadline that passes before the first token: each endpoint, whole and as a stream."""

import time
from typing import Any

import httpx
import pytest

from tests.conftest import wait_until
from tests.services.conftest import PROMPT, store_scripted_model
from tests.services.model_server.conftest import Gate, Server, health, wait_for_model
from tinygpt.runtime.volume import Volume

CHAT = {"messages": [{"role": "user", "content": PROMPT}]}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/generate", {"prompt": PROMPT}),
    ("/generate", {"prompt": PROMPT, "stream": True}),
    ("/v1/completions", {"prompt": PROMPT}),
    ("/v1/completions", {"prompt": PROMPT, "stream": True}),
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", CHAT | {"stream": True}),
]
NAMES = [path + (" stream" if "stream" in body else "") for path, body in REQUESTS]


@pytest.fixture
def server_that_waits(server: Server, volume: Volume, gate: Gate) -> httpx.Client:
    """A model server whose decoder writes nothing."""
    store_scripted_model(volume, "r-1", "nums[::-1]")
    client = server(model_server_decoder="torch", model_server_slots=2)
    wait_for_model(client, "r-1")
    gate.shut()
    return client


@pytest.mark.parametrize(("path", "body"), REQUESTS, ids=NAMES)
def test_the_model_server_gives_up_at_its_deadline_and_frees_the_slot(
    server_that_waits: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    started = time.monotonic()
    response = server_that_waits.post(path, json=body, headers={"X-Deadline-Seconds": "0.3"})

    assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert 0.3 <= time.monotonic() - started < 10
    wait_until(lambda: health(server_that_waits).running == 0, "the slot is free")
