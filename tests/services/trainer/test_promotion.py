"""Promotion: whether a new model replaces the one that is served."""

import pytest

from services.trainer.promotion import decide_promotion
from tests.services.conftest import ROWS, StoreModel
from tests.services.trainer.conftest import NewRun, trained
from tinygpt.contracts.models import BEST_CHECKPOINT
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.volume import Volume


@pytest.mark.parametrize(("mode", "served"), [("always", True), ("auto", True), ("never", False)])
def test_with_no_model_served_yet_all_but_never_promotes(
    runs: RunStore, new_run: NewRun, volume: Volume, mode: str, served: bool
) -> None:
    run_id = new_run(promote=mode)
    record = trained(runs, run_id)
    assert record.promotion is not None
    assert record.promotion.promoted is served
    current = volume.current()
    assert (current is not None and current.run_id == run_id) is served


def test_auto_serves_the_model_with_fewer_bits_per_character(runs: RunStore, new_run: NewRun, volume: Volume) -> None:
    better = new_run(promote="auto", max_steps=25)
    trained(runs, better)
    worse = trained(runs, new_run(promote="auto", max_steps=1, learning_rate=1e-6))
    assert worse.promotion is not None
    assert not worse.promotion.promoted
    assert (worse.promotion.bits_per_character or 0) > (worse.promotion.served_bits_per_character or 9)
    current = volume.current()
    assert current is not None
    assert current.run_id == better

    best = trained(runs, new_run(promote="auto", max_steps=60))
    assert best.promotion is not None
    assert best.promotion.promoted
    current = volume.current()
    assert current is not None
    assert (current.run_id, current.previous) == (best.run_id, better)


def test_a_served_model_that_cannot_be_loaded_is_replaced(
    runs: RunStore, new_run: NewRun, volume: Volume, store_model: StoreModel
) -> None:
    volume.promote(store_model("r-broken"))
    (volume.run("r-broken") / BEST_CHECKPOINT).write_bytes(b"no checkpoint")
    record = trained(runs, new_run(promote="auto"))
    assert record.promotion is not None
    assert record.promotion.promoted


def test_a_run_lost_after_its_promotion_and_judged_again_stays_promoted(
    volume: Volume, store_model: StoreModel
) -> None:
    volume.promote(store_model("r-1"))
    volume.promote(store_model("r-2"))
    challenger = load_checkpoint(volume.run("r-2") / BEST_CHECKPOINT)
    verdict = decide_promotion(volume, "r-2", challenger, ROWS, "auto", lambda: None)
    assert verdict.promoted
    assert volume.promote("r-2").previous == "r-1"
