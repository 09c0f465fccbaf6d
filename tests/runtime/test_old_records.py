"""Records that an earlier version left in Redis and on the volume (2026-11-30, commit f65ac40) are still read."""

import json
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Queue

from tests.runtime.conftest import LEASE_SECONDS
from tinygpt.contracts.models import BEST_CHECKPOINT
from tinygpt.contracts.runs import RunState
from tinygpt.runtime.lease import lease_key
from tinygpt.runtime.queue import JOB_FUNCTION
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.volume import Volume

OLD: dict[str, Any] = json.loads((Path(__file__).parent / "old_records.json").read_text())
FINISHED = json.loads(OLD["finished_run"]["run_id"])
QUEUED = json.loads(OLD["queued_run"]["run_id"])


@pytest.fixture
def old_runs(connection: redis.Redis, runs: RunStore) -> RunStore:
    """A store on a Redis with an earlier version's finished run and queued run."""
    for run_id, fields in ((FINISHED, OLD["finished_run"]), (QUEUED, OLD["queued_run"])):
        connection.hset(f"tinygpt:run:{run_id}", mapping=fields)
        connection.zadd("tinygpt:runs", {run_id: float(fields["created_at"])})
    for event_id, fields in OLD["events"]:
        connection.xadd(f"tinygpt:events:{FINISHED}", fields, id=event_id)
    connection.sadd("tinygpt:runs:active", QUEUED)
    return runs


def test_a_finished_run_and_its_events_are_read(old_runs: RunStore) -> None:
    record = old_runs.get(FINISHED)
    assert (record.state, record.attempt, record.request.max_steps) == (RunState.SUCCEEDED, 1, 12)
    assert record.metrics is not None
    assert record.metrics.parameters == 318212
    assert record.promotion is not None
    assert record.promotion.promoted
    assert [run.run_id for run in old_runs.newest()] == [QUEUED, FINISHED]
    events = list(old_runs.events(FINISHED))
    assert [event.id for event in events] == [event_id for event_id, _ in OLD["events"]]
    assert [event.data["state"] for event in events if event.type == "state"] == ["queued", "running", "succeeded"]


def test_a_queued_run_is_trained(old_runs: RunStore, queue: Queue) -> None:
    assert [run.run_id for run in old_runs.recover()] == [QUEUED]
    assert queue.get_job_ids() == [QUEUED]
    lease = old_runs.start(QUEUED, LEASE_SECONDS)
    assert lease is not None
    old_runs.finish(lease, RunState.SUCCEEDED)
    assert old_runs.get(QUEUED).state is RunState.SUCCEEDED


def test_a_running_run_is_requeued_once_its_lease_has_lapsed(old_runs: RunStore, connection: redis.Redis) -> None:
    connection.hset(f"tinygpt:run:{QUEUED}", mapping={"state": '"running"', "attempt": "1"})
    connection.set(f"tinygpt:lease:{QUEUED}", "7 elsewhere:4711")
    assert old_runs.recover() == []
    connection.delete(lease_key(QUEUED))
    assert [run.state for run in old_runs.recover()] == [RunState.QUEUED]


def test_a_job_that_waits_names_the_function_that_trains() -> None:
    assert JOB_FUNCTION == "services.trainer.job.run_training"


def test_the_manifest_the_card_and_what_is_served_are_read(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    manifest, card = OLD["volume"]["manifest"], OLD["volume"]["card"]
    for path, content in (
        (tmp_path / "runs" / FINISHED / "manifest.json", manifest),
        (tmp_path / "datasets" / card["dataset_id"] / "card.json", card),
        (tmp_path / "models" / "current.json", OLD["volume"]["current"]),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
    current = volume.current()
    assert current is not None
    assert (current.run_id, current.sha256) == (FINISHED, manifest["files"][BEST_CHECKPOINT]["sha256"])
    assert volume.manifest(FINISHED).metrics.steps == 12
    assert [found.run_id for found in volume.manifests()] == [FINISHED]
    assert volume.card(card["dataset_id"]).report.statistics.rows == 12
    assert volume.promote(FINISHED).previous is None
