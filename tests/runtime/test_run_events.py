"""The events of a run, and its progress."""

import time

import pytest

from tests.runtime.conftest import new_run, started
from tinygpt.contracts.runs import Progress, RunEvent, RunState
from tinygpt.runtime.runs import RunStore


def _progress(runs: RunStore, run_id: str, step: int) -> RunEvent:
    progress = Progress(step=step, elapsed_seconds=1.0)
    return runs.publish(run_id, RunEvent(type="progress", at=time.time(), data=progress.model_dump(mode="json")))


def test_events_after_an_id_are_exactly_those_that_came_later(runs: RunStore) -> None:
    run_id = new_run(runs)
    published = [_progress(runs, run_id, step) for step in range(5)]
    everything = list(runs.events(run_id))
    assert everything[1:] == published
    for position, event in enumerate(everything):
        assert list(runs.events(run_id, after=event.id)) == everything[position + 1 :]


def test_a_long_run_gives_all_its_events(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygpt.runtime.run_events._EVENTS_PER_READ", 10)
    run_id = new_run(runs)
    for step in range(25):
        _progress(runs, run_id, step)
    runs.finish(started(runs, run_id), RunState.SUCCEEDED)
    events = list(runs.events(run_id))
    assert len(events) == 28
    assert events[-1].data["state"] == "succeeded"


def test_progress_is_seen_in_the_record(runs: RunStore) -> None:
    run_id = new_run(runs)
    runs.set_progress(run_id, Progress(step=7, elapsed_seconds=1.5))
    progress = runs.get(run_id).progress
    assert progress is not None
    assert progress.step == 7
