"""What settings and the machine's cores do."""

import os
from pathlib import Path

from services.model_server.cores import usable_cores
from tests.services.conftest import StoreModel
from tests.services.model_server.conftest import Server, health, promoted, wait_for_model
from tinygpt.runtime.volume import Volume


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
