"""`/models`: what could be served, and promoting it by hand."""

import httpx
import pytest

from tests.services.conftest import EVALUATION, StoreModel
from tests.services.gateway.conftest import error_of
from tinygpt.runtime.volume import Volume


def test_models_are_listed_newest_first_with_the_one_that_is_served(
    gateway: httpx.Client, volume: Volume, store_model: StoreModel
) -> None:
    assert gateway.get("/models").json() == {"models": []}
    for run_id in ("r-1", "r-2"):
        store_model(run_id)
    volume.promote("r-1")
    models = gateway.get("/models").json()["models"]
    assert [(model["model_id"], model["current"]) for model in models] == [("r-2", False), ("r-1", True)]
    assert models[0]["metrics"]["validation_loss"] > 0
    assert models[0]["hyperparameters"]["layers"] == 1
    assert models[0]["evaluation"] == EVALUATION.model_dump()


def test_a_model_is_promoted_by_hand_and_previous_goes_back(
    gateway: httpx.Client, volume: Volume, store_model: StoreModel
) -> None:
    for run_id in ("r-1", "r-2"):
        store_model(run_id)
        assert gateway.post(f"/models/{run_id}/promote").json()["run_id"] == run_id
    back = gateway.post("/models/previous/promote")
    assert (back.status_code, back.json()["run_id"], back.json()["previous"]) == (200, "r-1", "r-2")
    current = volume.current()
    assert current is not None
    assert current.run_id == "r-1"


@pytest.mark.parametrize("run_id", ["r-unknown", "previous", "..%2Fx", "%2e%2e", ".x"])
def test_a_model_that_is_not_there_cannot_be_promoted(gateway: httpx.Client, run_id: str) -> None:
    error_of(gateway.post(f"/models/{run_id}/promote"), 404, "not_found")
