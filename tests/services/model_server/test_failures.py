"""Checkpoints and decoders that fail: another model serves, and the failed one is tried again."""

import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from services.model_server.model_holder import ModelHolder
from tests.conftest import wait_until
from tests.services.conftest import StoreModel
from tests.services.model_server.conftest import Server, count, health, promoted, wait_for_model
from tinygpt.contracts.models import BEST_CHECKPOINT
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.torch_decoder import TorchDecoder
from tinygpt.runtime.volume import Volume


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
