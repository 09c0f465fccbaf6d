"""The garbage collector passes over models, but collects what a replaced one leaves."""

import gc
import weakref
from typing import Any

import pytest

from services.model_server import model_holder, model_loading
from services.model_server.model_loading import ServedModel
from tests.conftest import wait_until
from tests.services.conftest import StoreModel
from tests.services.model_server.conftest import Server, promoted, wait_for_model
from tinygpt.runtime.volume import Volume


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
    load = model_loading.load_model

    def with_cycle(*args: Any, **kwargs: Any) -> ServedModel:
        model, cycle = load(*args, **kwargs), _Cycle()
        model.generator.cycle = cycle  # type: ignore[attr-defined]
        left.append(weakref.ref(cycle))
        return model

    monkeypatch.setattr(model_holder, "load_model", with_cycle)
    promoted(volume, store_model, "r-1")
    client = server()
    wait_for_model(client, "r-1")
    promoted(volume, store_model, "r-2")
    wait_for_model(client, "r-2")
    wait_until(lambda: left[0]() is None, "the first model's is gone")
    assert left[1]() is not None
