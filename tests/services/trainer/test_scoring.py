"""Scoring a new model on rows that it never saw, by running their checks."""

from pathlib import Path

import pytest

from services.trainer import scoring
from tests.services.conftest import ROWS, StoreModel
from tests.services.trainer.conftest import SHORT, NewRun, trained
from tinygpt.contracts.errors import LeaseLost
from tinygpt.contracts.models import BEST_CHECKPOINT
from tinygpt.contracts.runs import DEFAULT_DATASET, RunState, TrainRequest
from tinygpt.data.rows import Row, write_rows
from tinygpt.data.split import Split
from tinygpt.data.store import store_dataset
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.volume import Volume


def test_rows_with_a_check_are_judged_and_the_manifest_says_how_well(
    runs: RunStore, new_run: NewRun, volume: Volume, tmp_path: Path
) -> None:
    rows = [Row(row.prompt, row.code, {"check": f"assert code == {row.code!r}"}) for row in ROWS]
    write_rows(tmp_path / "checked.jsonl", rows)
    dataset_id = store_dataset(volume.datasets, tmp_path / "checked.jsonl", name="checked").dataset_id
    record, _ = runs.create(TrainRequest.model_validate(SHORT | {"dataset": dataset_id}), dataset_id)
    assert trained(runs, record.run_id).state is RunState.SUCCEEDED
    evaluation = volume.manifest(record.run_id).evaluation
    assert evaluation is not None
    assert evaluation.rows >= 1
    assert evaluation.model_pass_at_1 <= evaluation.parse_rate <= 1


def test_a_model_of_the_bundled_dataset_is_judged_by_every_kind_that_is_held_out(
    runs: RunStore, volume: Volume, monkeypatch: pytest.MonkeyPatch, dataset: str, tmp_path: Path
) -> None:
    held_out = tmp_path / "held_out.jsonl"
    rows = [Row(f"add {i} to y", f"y + {i}", {"check": "pass", "split": f"kind {i // 100}"}) for i in range(400)]
    write_rows(held_out, rows)
    monkeypatch.setattr(scoring, "held_out_rows", lambda: held_out)
    record, _ = runs.create(TrainRequest.model_validate(SHORT), dataset)
    assert record.request.dataset == DEFAULT_DATASET
    assert trained(runs, record.run_id).state is RunState.SUCCEEDED
    evaluation = volume.manifest(record.run_id).evaluation
    assert evaluation is not None
    assert evaluation.rows == 50
    assert set(evaluation.model_pass_at_1_by_split) == {f"kind {i}" for i in range(4)}

    held_out.unlink()
    record, _ = runs.create(TrainRequest.model_validate(SHORT), dataset)
    assert trained(runs, record.run_id).state is RunState.SUCCEEDED
    assert volume.manifest(record.run_id).evaluation is None


def test_a_lease_that_is_lost_while_the_model_is_judged_is_no_failure_of_the_judge(
    volume: Volume, store_model: StoreModel
) -> None:
    checkpoint = load_checkpoint(volume.run(store_model("r-1")) / BEST_CHECKPOINT)
    held_out = [Row("add 1 to x", "x + 1", {"check": "pass"})]

    def lost() -> bool:
        raise LeaseLost("another worker has it")

    with pytest.raises(LeaseLost):
        scoring.score(checkpoint, TrainRequest(dataset="d-1"), Split(training=ROWS, held_out=held_out), lost)


def test_rows_without_a_check_are_not_judged(runs: RunStore, new_run: NewRun, volume: Volume) -> None:
    run_id = new_run()
    trained(runs, run_id)
    assert volume.manifest(run_id).evaluation is None
