"""The model server: loading, following what is promoted, and requests that come and go."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.model_server.app import create_app
from services.model_server.settings import ModelServerSettings
from tests.conftest import wait_until
from tests.services.conftest import StoreModel, serving
from tinygpt.contracts.generation import GenerateRequest, GenerateResponse
from tinygpt.contracts.models import BEST_CHECKPOINT, ModelServerHealth
from tinygpt.inference.generator import CodeGenerator
from tinygpt.runtime.volume import Volume

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

    wait_until(served, f"{model_id} is served")


def promoted(volume: Volume, store_model: StoreModel, run_id: str) -> str:
    store_model(run_id)
    volume.promote(run_id)
    return run_id


class Gate:
    """Holds every decoding at its next token until it is opened. Stands in for a long answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.decoding = 0
        self.stopped = 0
        self.opened = threading.Event()
        answer = CodeGenerator.generate

        def generate(
            generator: CodeGenerator, request: GenerateRequest, should_stop: Callable[[], bool] = lambda: False
        ) -> GenerateResponse:
            self.decoding += 1
            while not self.opened.wait(0.01) and not should_stop():
                pass
            self.stopped += should_stop()
            self.decoding -= 1
            return answer(generator, request, should_stop)

        monkeypatch.setattr(CodeGenerator, "generate", generate)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


# -- the model


def test_without_a_model_it_is_503_and_says_what_to_do(server: Server) -> None:
    client = server()
    wait_until(lambda: health(client).reason, "it has looked")
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"], answer.json()["model"]) == (503, "loading", None)
    assert "POST /train" in answer.json()["reason"]
    for refused in (client.get("/readyz"), client.post("/generate", json={"prompt": "p"})):
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "no_model"
        assert refused.headers["Retry-After"]
    assert client.get("/livez").status_code == 200


def test_while_the_model_loads_it_is_503_loading(
    server: Server, volume: Volume, store_model: StoreModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted(volume, store_model, "r-1")
    loaded = threading.Event()
    build = CodeGenerator.__init__

    def slowly(*args: Any, **kwargs: Any) -> None:
        loaded.wait(20)
        build(*args, **kwargs)

    monkeypatch.setattr(CodeGenerator, "__init__", slowly)
    client = server()
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "loading")
    assert client.post("/generate", json={"prompt": "p"}).json()["error"]["code"] == "loading"
    loaded.set()
    wait_for_model(client, "r-1")


def test_with_a_model_it_is_200_with_the_models_metadata(
    server: Server, volume: Volume, store_model: StoreModel
) -> None:
    promoted(volume, store_model, "r-1")
    client = server()
    wait_for_model(client, "r-1")
    assert client.get("/health").status_code == 200
    assert client.get("/readyz").json() == {"status": "ok"}
    model = health(client).model
    assert model is not None
    assert model.hyperparameters["width"] == 16
    assert model.parameters > 0
    assert model.validation_loss is not None
    current = volume.current()
    assert current is not None
    assert model.sha256 == current.sha256


def test_a_first_model_is_picked_up_without_a_restart(server: Server, volume: Volume, store_model: StoreModel) -> None:
    client = server()
    assert client.get("/health").status_code == 503
    promoted(volume, store_model, "r-1")
    wait_for_model(client, "r-1")
    assert client.post("/generate", json={"prompt": "sort the list xs"}).json()["model_id"] == "r-1"


def test_a_newly_promoted_model_is_followed(server: Server, volume: Volume, store_model: StoreModel) -> None:
    promoted(volume, store_model, "r-1")
    client = server()
    wait_for_model(client, "r-1")
    promoted(volume, store_model, "r-2")
    wait_for_model(client, "r-2")
    assert client.post("/generate", json={"prompt": "sort the list xs"}).json()["model_id"] == "r-2"


def test_a_request_under_way_finishes_on_the_model_it_began_with(
    server: Server, volume: Volume, store_model: StoreModel, gate: Gate
) -> None:
    promoted(volume, store_model, "r-1")
    client = server()
    wait_for_model(client, "r-1")
    answers: list[httpx.Response] = []
    url = f"{client.base_url}/generate"
    asking = threading.Thread(target=lambda: answers.append(httpx.post(url, json={"prompt": "p"}, timeout=30)))
    asking.start()
    wait_until(lambda: gate.decoding == 1, "it decodes")
    promoted(volume, store_model, "r-2")
    wait_for_model(client, "r-2")
    gate.opened.set()
    asking.join()
    assert answers[0].json()["model_id"] == "r-1"


def test_a_server_that_starts_on_a_bad_checkpoint_serves_the_model_before(
    server: Server, volume: Volume, store_model: StoreModel
) -> None:
    promoted(volume, store_model, "r-1")
    promoted(volume, store_model, "r-2")
    (volume.run("r-2") / BEST_CHECKPOINT).write_bytes(b"cut off")

    client = server()
    wait_for_model(client, "r-1")
    assert "best.pt" in (health(client).reason or "")


@pytest.mark.parametrize("damage", ["cut", "altered", "missing"])
def test_a_bad_checkpoint_leaves_the_old_model_serving_and_shows(
    server: Server, volume: Volume, store_model: StoreModel, damage: str
) -> None:
    promoted(volume, store_model, "r-1")
    client = server()
    wait_for_model(client, "r-1")

    store_model("r-2")
    file = volume.run("r-2") / BEST_CHECKPOINT
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(whole[:-100] if damage == "cut" else whole[:-1] + bytes([whole[-1] ^ 1]))
    volume.promote("r-2")
    wait_until(lambda: health(client).reason, "the problem shows")

    answer = client.get("/health")
    assert (answer.status_code, answer.json()["model"]["model_id"]) == (200, "r-1")
    assert str(Path("r-2") / BEST_CHECKPOINT) in answer.json()["reason"]
    assert client.post("/generate", json={"prompt": "sort the list xs"}).json()["model_id"] == "r-1"

    file.write_bytes(whole)
    wait_for_model(client, "r-2")
    assert health(client).reason is None


# -- requests


@pytest.fixture
def served(server: Server, volume: Volume, store_model: StoreModel) -> httpx.Client:
    promoted(volume, store_model, "r-1")
    client = server(model_server_max_in_flight=2, model_server_decode_threads=1)
    wait_for_model(client, "r-1")
    return client


@pytest.mark.parametrize("prompt", ["sort 🙂", "<EOS>", "<CODE><PAD>", "a\x00b", "مرحبا", "x" * 500], ids=ascii)
def test_any_prompt_that_fits_gets_an_answer(served: httpx.Client, prompt: str) -> None:
    answer = served.post("/generate", json={"prompt": prompt})
    assert answer.status_code == 200, answer.text
    assert answer.json()["source"] in ("model", "retrieval", "none")


def test_a_prompt_longer_than_the_context_is_422_with_its_length(served: httpx.Client) -> None:
    answer = served.post("/generate", json={"prompt": "x" * 10_000})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "prompt")
    assert "10000" in error["message"]


def test_the_request_id_is_passed_through_and_stands_in_errors(served: httpx.Client) -> None:
    answer = served.post("/generate", json={"prompt": "x" * 10_000}, headers={"X-Request-Id": "mine"})
    assert answer.headers["X-Request-Id"] == answer.json()["error"]["request_id"] == "mine"


def test_a_deadline_that_passes_is_504_and_frees_the_place(served: httpx.Client, gate: Gate) -> None:
    answer = served.post("/generate", json={"prompt": "p"}, headers={"X-Deadline-Seconds": "0.2"})
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    wait_until(lambda: gate.decoding == 0, "the thread stops")
    assert gate.stopped == 1
    assert health(served).in_flight == 0


def test_a_client_that_goes_away_frees_its_place(served: httpx.Client, gate: Gate) -> None:
    body = b'{"prompt": "p"}'
    with socket.create_connection((str(served.base_url.host), served.base_url.port or 0)) as leaving:
        leaving.sendall(
            b"POST /generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        wait_until(lambda: gate.decoding == 1, "it decodes")
    wait_until(lambda: gate.decoding == 0, "the thread stops", seconds=5)
    assert gate.stopped == 1
    assert health(served).in_flight == 0


def test_one_request_too_many_is_429_and_one_that_leaves_makes_room(served: httpx.Client, gate: Gate) -> None:
    url = f"{served.base_url}/generate"
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(httpx.post(url, json={"prompt": "p"}, timeout=30).status_code))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: health(served).in_flight == 2, "both are held")
    refused = served.post("/generate", json={"prompt": "p"})
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "queue_full"
    assert refused.headers["Retry-After"]
    gate.opened.set()
    for thread in threads:
        thread.join()
    assert answers == [200, 200]
    assert served.post("/generate", json={"prompt": "p"}).status_code == 200


@pytest.mark.parametrize("deadline", ["0", "-1", "soon", "nan"])
def test_a_deadline_that_is_none_is_422(served: httpx.Client, deadline: str) -> None:
    answer = served.post("/generate", json={"prompt": "p"}, headers={"X-Deadline-Seconds": deadline})
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["param"] == "header.x-deadline-seconds"


def test_answers_are_counted(served: httpx.Client) -> None:
    source = served.post("/generate", json={"prompt": "sort the list xs"}).json()["source"]
    metrics = served.get("/metrics").text
    assert f'tinygpt_answers_total{{source="{source}"}} 1.0' in metrics
    assert 'route="/generate",status="200"} 1.0' in metrics
