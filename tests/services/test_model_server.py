"""The model server: loading, following what is promoted, and requests that come and go."""

import gc
import os
import threading
import time
import weakref
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from services.model_server.cores import usable_cores
from services.model_server.metrics import DecodingMetrics
from services.model_server.model_holder import Held, ModelHolder
from services.model_server.settings import ModelServerSettings
from tests.conftest import wait_until
from tests.services.conftest import Gate, Server, StoreModel, count, health, promoted, sent, wait_for_model
from tinygpt.contracts.models import BEST_CHECKPOINT
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.torch_decoder import TorchDecoder
from tinygpt.runtime.volume import Volume

# -- the model


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
    assert client.post("/generate", json={"prompt": "sort the list xs"}).json()["model"] == "r-1"

    file.write_bytes(whole)
    wait_for_model(client, "r-2")
    assert health(client).reason is None


def test_a_decoder_that_fails_for_good_is_not_ready_and_the_model_is_loaded_anew(
    server: Server, volume: Volume, store_model: StoreModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted(volume, store_model, "r-1")
    client = server(model_server_decoder="torch", model_server_follow_seconds=1.0)
    wait_for_model(client, "r-1")

    def fail(*_arguments: object) -> None:
        raise RuntimeError("the device is gone")

    with monkeypatch.context() as broken:
        broken.setattr(TorchDecoder, "step", fail)
        broken.setattr(TorchDecoder, "free", fail)
        load = threading.Event()
        broken.setattr(ModelHolder, "_serve", lambda *_: load.wait(20) and None)
        assert client.post("/generate", json={"prompt": "p"}).status_code == 500
        for refused in (client.get("/readyz"), client.get("/health"), client.post("/generate", json={"prompt": "p"})):
            assert refused.status_code == 503
        assert count(client, 'tinygpt_request_success_total{finished_reason="error"}') == 1
    load.set()
    wait_for_model(client, "r-1")
    assert client.post("/generate", json={"prompt": "p"}).status_code == 200
    assert client.get("/livez").status_code == 200


def test_a_collection_of_garbage_passes_over_the_model_and_pytorch(
    server: Server, volume: Volume, store_model: StoreModel
) -> None:
    promoted(volume, store_model, "r-1")
    gc.unfreeze()
    wait_for_model(server(), "r-1")
    assert len(gc.get_objects()) < gc.get_freeze_count() / 4


class _Cycle:
    """Nothing but the garbage collector frees it."""

    def __init__(self) -> None:
        self.itself = self


def test_what_a_replaced_model_leaves_in_a_cycle_is_collected(
    server: Server, volume: Volume, store_model: StoreModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[weakref.ref[_Cycle]] = []
    load = ModelHolder._load

    def with_cycle(holder: ModelHolder, run_id: str, sha256: str) -> Held:
        held, cycle = load(holder, run_id, sha256), _Cycle()
        held.generator.cycle = cycle  # type: ignore[attr-defined]
        left.append(weakref.ref(cycle))
        return held

    monkeypatch.setattr(ModelHolder, "_load", with_cycle)
    promoted(volume, store_model, "r-1")
    client = server()
    wait_for_model(client, "r-1")
    promoted(volume, store_model, "r-2")
    wait_for_model(client, "r-2")
    wait_until(lambda: left[0]() is None, "the first model's is gone")
    assert left[1]() is not None


def test_a_process_whose_thread_that_follows_is_gone_is_not_alive(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelHolder, "_follow", lambda _holder: None)
    client = server()
    wait_until(lambda: client.get("/livez").status_code == 503, "the thread is gone")


def test_a_model_that_can_not_be_warmed_is_put_away_and_tried_again_ever_more_rarely(
    server: Server, volume: Volume, store_model: StoreModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []
    closed: list[CodeGenerator] = []
    close = CodeGenerator.close

    def fail(_generator: CodeGenerator, _request: object) -> None:
        tried.append(time.monotonic())
        raise RuntimeError("no memory")

    def noted_close(generator: CodeGenerator, *, drain_seconds: float = 0.0) -> None:
        closed.append(generator)
        close(generator, drain_seconds=drain_seconds)

    promoted(volume, store_model, "r-1")
    monkeypatch.setattr(CodeGenerator, "close", noted_close)
    with monkeypatch.context() as broken:
        broken.setattr(CodeGenerator, "generate", fail)
        client = server(model_server_decoder="torch")
        wait_until(lambda: len(closed) == 4, "it was tried four times")
    assert "no memory" in (health(client).reason or "")
    waited = [after - before for before, after in pairwise(tried)]
    assert all(seconds >= 0.05 * 2**n for n, seconds in enumerate(waited, 1))
    wait_for_model(client, "r-1")


def test_a_server_told_to_stop_while_a_model_loads_leaves_no_model_behind(
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
        wait_until(holder._stop.is_set, "it is told to stop")

    monkeypatch.setattr(CodeGenerator, "__init__", build_and_stop)
    holder.start()
    assert loading.wait(20)
    holder.stop()
    assert (len(closed), holder.held, holder.problem, holder.alive) == (1, None, None, False)


def test_one_slot_and_no_place_to_wait_serve(server: Server, volume: Volume, store_model: StoreModel) -> None:
    promoted(volume, store_model, "r-1")
    client = server(model_server_slots=1, model_server_max_waiting=0, model_server_decoder="torch")
    wait_for_model(client, "r-1")
    assert client.post("/generate", json={"prompt": "p"}).status_code == 200


def test_health_tells_the_decoder_and_the_weights_that_are_used(
    server: Server, volume: Volume, store_model: StoreModel
) -> None:
    promoted(volume, store_model, "r-1")
    client = server(model_server_decoder="torch", model_server_weights="int8")
    wait_for_model(client, "r-1")
    model = health(client).model
    assert model is not None
    assert (model.decoder, model.weights) == ("torch", "float32")


def test_cores_are_those_that_the_process_may_use_within_its_quota(tmp_path: Path) -> None:
    here = usable_cores(tmp_path / "none")
    quota = tmp_path / "cpu.max"
    for text, cores in (("max 100000", here), ("100000 100000", 1), ("50000 100000", 1), ("9900000 100000", here)):
        quota.write_text(text + "\n")
        assert usable_cores(quota) == cores
    if hasattr(os, "sched_setaffinity"):
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(before)})
            assert usable_cores(tmp_path / "none") == 1
        finally:
            os.sched_setaffinity(0, before)


# -- requests


@pytest.fixture
def served(server: Server, volume: Volume, store_model: StoreModel, gate: Gate) -> httpx.Client:
    """A client of a server with one slot and one place to wait, on PyTorch; the gate has seen its decoder."""
    promoted(volume, store_model, "r-1")
    client = server(model_server_slots=1, model_server_max_waiting=1, model_server_decoder="torch")
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
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    assert "10000" in error["message"]


def test_the_request_id_is_passed_through_and_stands_in_errors(served: httpx.Client) -> None:
    answer = served.post("/generate", json={"prompt": "x" * 10_000}, headers={"X-Request-Id": "mine"})
    assert answer.headers["X-Request-Id"] == answer.json()["error"]["request_id"] == "mine"


def test_a_deadline_that_passes_is_504_and_frees_the_slot(served: httpx.Client, gate: Gate) -> None:
    gate.shut()
    answer = served.post("/generate", json={"prompt": "p"}, headers={"X-Deadline-Seconds": "0.2"})
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    wait_until(lambda: health(served).running == 0, "the slot is free")
    assert count(served, 'tinygpt_request_success_total{finished_reason="cancelled"}') == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_its_slot(served: httpx.Client, gate: Gate, stream: bool) -> None:
    gate.shut()
    with sent(served, {"prompt": "p", "stream": stream}):
        wait_until(lambda: health(served).running == 1, "it is in a slot")
    wait_until(lambda: health(served).running == 0, "the slot is free", seconds=5)
    assert count(served, 'tinygpt_request_success_total{finished_reason="cancelled"}') == 1


def test_a_client_that_goes_away_while_it_waits_frees_its_place(served: httpx.Client, gate: Gate) -> None:
    gate.shut()
    with sent(served, {"prompt": "p"}):
        wait_until(lambda: health(served).running == 1, "one is in a slot")
        with sent(served, {"prompt": "p", "stream": True}):
            wait_until(lambda: health(served).waiting == 1, "one waits")
        wait_until(lambda: health(served).waiting == 0, "its place is free", seconds=5)
        assert health(served).running == 1


@pytest.mark.parametrize("stream", [False, True])
def test_one_request_too_many_is_429_and_one_that_leaves_makes_room(
    served: httpx.Client, gate: Gate, stream: bool
) -> None:
    gate.shut()
    url = f"{served.base_url}/generate"
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(httpx.post(url, json={"prompt": "p"}, timeout=30).status_code))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: (health(served).running, health(served).waiting) == (1, 1), "both are held")
    refused = served.post("/generate", json={"prompt": "p", "stream": stream})
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "queue_full"
    assert refused.headers["Retry-After"]
    gate.open()
    for thread in threads:
        thread.join()
    assert answers == [200, 200]
    assert served.post("/generate", json={"prompt": "p"}).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("prompts", "code"), [(["p", "p", "p"], "invalid_request"), (["p", "x" * 10_000], "context_length_exceeded")]
)
def test_of_several_prompts_none_is_taken_where_one_can_not_be(
    served: httpx.Client, prompts: list[str], code: str, stream: bool
) -> None:
    refused = served.post("/v1/completions", json={"prompt": prompts, "stream": stream})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)
    assert served.post("/generate", json={"prompt": "p"}).status_code == 200
    assert count(served, 'tinygpt_request_success_total{finished_reason="cancelled"}') == 0


@pytest.mark.parametrize("stream", [False, True])
def test_of_several_prompts_none_waits_where_not_all_may(served: httpx.Client, gate: Gate, stream: bool) -> None:
    gate.shut()
    with sent(served, {"prompt": "p"}):
        wait_until(lambda: health(served).running == 1, "one is in a slot")
        refused = served.post("/v1/completions", json={"prompt": ["p", "p"], "stream": stream})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert health(served).waiting == 0


@pytest.mark.parametrize("deadline", ["0", "-1", "soon", "nan"])
def test_a_deadline_that_is_none_is_422(served: httpx.Client, deadline: str) -> None:
    answer = served.post("/generate", json={"prompt": "p"}, headers={"X-Deadline-Seconds": deadline})
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["param"] == "header.x-deadline-seconds"


def test_answers_are_counted(served: httpx.Client) -> None:
    """By a model that was warmed, which is none of them."""
    answer = served.post("/generate", json={"prompt": "sort the list xs", "n": 2, "max_new_tokens": 3}).json()
    assert count(served, f'tinygpt_answers_total{{source="{answer["source"]}"}}') == 2
    assert count(served, 'tinygpt_http_requests_total{method="POST",route="/generate",status="200"}') == 1
    assert count(served, f'tinygpt_request_success_total{{finished_reason="{answer["finish_reason"]}"}}') == 2
    assert count(served, "tinygpt_prompt_tokens_total") == 2 * answer["usage"]["prompt_tokens"]
    assert count(served, "tinygpt_generation_tokens_total") == answer["usage"]["completion_tokens"]
    for latency in (
        "time_to_first_token_seconds",
        "time_per_output_token_seconds",
        "e2e_request_latency_seconds",
        "request_queue_time_seconds",
        "request_prefill_time_seconds",
        "request_decode_time_seconds",
    ):
        assert count(served, f"tinygpt_{latency}_count") == 2, latency
    assert count(served, 'tinygpt_model_loads_total{outcome="ok"}') == 1
    assert count(served, "tinygpt_slots") == 1


def test_what_runs_and_waits_shows(served: httpx.Client, gate: Gate) -> None:
    gate.shut()
    with sent(served, {"prompt": "p"}), sent(served, {"prompt": "p"}):
        wait_until(lambda: count(served, "tinygpt_num_requests_waiting") == 1, "one waits")
        assert count(served, "tinygpt_num_requests_running") == 1
        assert count(served, "tinygpt_slot_usage_ratio") == 1
