"""Loading the promoted model, following what is promoted, and stopping meanwhile."""

import threading
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from services.model_server.metrics import DecodingMetrics
from services.model_server.model_holder import ModelHolder
from services.model_server.settings import ModelServerSettings
from tests.conftest import wait_until
from tests.services.conftest import StoreModel
from tests.services.model_server.conftest import Gate, Server, health, promoted, wait_for_model
from tinygpt.inference.generator import CodeGenerator
from tinygpt.runtime.volume import Volume


def test_without_a_model_it_is_503_and_says_what_to_do(server: Server) -> None:
    client = server()
    wait_until(lambda: health(client).status == "no_model", "it has looked")
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["model"]) == (503, None)
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
    assert answer.json()["reason"] == "the model is loading"
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
    assert client.post("/generate", json={"prompt": "sort the list xs"}).json()["model"] == "r-1"


def test_a_newly_promoted_model_is_followed(server: Server, volume: Volume, store_model: StoreModel) -> None:
    promoted(volume, store_model, "r-1")
    client = server()
    wait_for_model(client, "r-1")
    promoted(volume, store_model, "r-2")
    wait_for_model(client, "r-2")
    assert client.post("/generate", json={"prompt": "sort the list xs"}).json()["model"] == "r-2"


def test_a_request_under_way_finishes_on_the_model_it_began_with(
    server: Server, volume: Volume, store_model: StoreModel, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_away: list[str] = []
    close = CodeGenerator.close

    def noted_close(generator: CodeGenerator, *, drain_seconds: float = 0.0) -> None:
        put_away.append(generator.model_id)
        close(generator, drain_seconds=drain_seconds)

    monkeypatch.setattr(CodeGenerator, "close", noted_close)
    promoted(volume, store_model, "r-1")
    store_model("r-2")
    client = server(model_server_decoder="torch")
    wait_for_model(client, "r-1")
    gate.shut()
    answers: list[httpx.Response] = []
    url = f"{client.base_url}/generate"
    asking = threading.Thread(target=lambda: answers.append(httpx.post(url, json={"prompt": "p"}, timeout=30)))
    asking.start()
    wait_until(lambda: health(client).running == 1, "it is in a slot")
    volume.promote("r-2")
    wait_for_model(client, "r-2")
    assert put_away == []
    gate.open()
    asking.join()
    assert answers[0].json()["model"] == "r-1"
    wait_until(lambda: put_away == ["r-1"], "the model that nobody uses is put away")


def test_a_process_whose_thread_that_follows_is_gone_is_not_alive(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelHolder, "_follow", lambda _holder: None)
    client = server()
    wait_until(lambda: client.get("/livez").status_code == 503, "the thread is gone")


def test_a_server_that_stops_while_a_model_loads_leaves_no_model_behind(
    volume: Volume, store_model: StoreModel, monkeypatch: pytest.MonkeyPatch, model_server_settings: ModelServerSettings
) -> None:
    promoted(volume, store_model, "r-1")
    closed: list[CodeGenerator] = []
    monkeypatch.setattr(CodeGenerator, "close", lambda generator: closed.append(generator))
    holder = ModelHolder(model_server_settings, DecodingMetrics(CollectorRegistry()))
    loading = threading.Event()
    build = CodeGenerator.__init__

    def build_and_stop(generator: CodeGenerator, *args: Any, **kwargs: Any) -> None:
        build(generator, *args, **kwargs)
        loading.set()
        wait_until(holder._stop.is_set, "it is asked to stop")

    monkeypatch.setattr(CodeGenerator, "__init__", build_and_stop)
    holder.start()
    assert loading.wait(20)
    holder.stop()
    assert (len(closed), holder.served, holder.problem, holder.alive) == (1, None, None, False)
