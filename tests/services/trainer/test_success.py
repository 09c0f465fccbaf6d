"""A run that succeeds: its files, its metrics, its progress."""

import json

from tests.services.trainer.conftest import NewRun, trained
from tinygpt.contracts.models import BEST_CHECKPOINT, LAST_CHECKPOINT, TRAINING_ROWS
from tinygpt.contracts.runs import RunState
from tinygpt.durable import sha256_of
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.volume import Volume


def test_a_run_that_succeeds_leaves_its_files_and_its_metrics(runs: RunStore, new_run: NewRun, volume: Volume) -> None:
    run_id = new_run()
    record = trained(runs, run_id)
    assert (record.state, record.attempt, record.error) == (RunState.SUCCEEDED, 1, None)
    assert record.metrics is not None
    assert (record.metrics.steps, record.metrics.stopped_by) == (12, "max_steps")
    assert record.started_at is not None
    assert record.ended_at is not None
    assert record.created_at <= record.started_at <= record.ended_at

    folder = volume.run(run_id)
    manifest = volume.manifest(run_id)
    assert manifest.metrics == record.metrics
    assert set(manifest.files) == {BEST_CHECKPOINT, LAST_CHECKPOINT, TRAINING_ROWS}
    for name, entry in manifest.files.items():
        assert (sha256_of(folder / name), (folder / name).stat().st_size) == (entry.sha256, entry.size_bytes)
    assert manifest.hyperparameters["context_length"] == 48
    assert json.loads((folder / "request.json").read_text())["run_id"] == run_id
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_progress_reaches_the_stream_the_record_and_the_file(runs: RunStore, new_run: NewRun, volume: Volume) -> None:
    run_id = new_run()
    record = trained(runs, run_id)
    published = [event for event in runs.events(run_id) if event.type != "state"]
    assert published[-1].data["step"] == 12
    assert "validation_loss" in published[-1].data
    assert record.progress is not None
    assert record.progress.step == 12
    written = [json.loads(line) for line in (volume.run(run_id) / "events.jsonl").read_text().splitlines()]
    assert [line["data"] for line in written] == [event.data for event in published]


def test_a_second_run_on_the_same_dataset_finds_its_tokens(
    runs: RunStore, new_run: NewRun, volume: Volume, dataset: str
) -> None:
    trained(runs, new_run())
    tokens = volume.dataset(dataset) / "tokens"
    before = {path: path.stat().st_mtime_ns for path in tokens.rglob("*")}
    (volume.dataset(dataset) / "rows.jsonl").unlink()

    assert trained(runs, new_run(seed=1)).state is RunState.SUCCEEDED
    assert {path: path.stat().st_mtime_ns for path in tokens.rglob("*")} == before
