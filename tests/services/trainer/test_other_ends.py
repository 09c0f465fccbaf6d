"""Runs that are cancelled, requeued, or fail."""

import os
import signal

import pytest

from tests.services.trainer.conftest import ENDLESS, NewRun, steps_reported, trained, when
from tinygpt.contracts.models import LAST_CHECKPOINT
from tinygpt.contracts.runs import RunState
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.volume import Volume


def test_a_cancelled_run_saves_and_ends(runs: RunStore, new_run: NewRun, volume: Volume) -> None:
    run_id = new_run(**ENDLESS)
    thread = when(lambda: steps_reported(runs, run_id), lambda: runs.cancel(run_id))
    record = trained(runs, run_id)
    thread.join()
    assert record.state is RunState.CANCELLED
    assert (volume.run(run_id) / LAST_CHECKPOINT).exists()
    assert not (volume.run(run_id) / "manifest.json").exists()


def test_sigterm_requeues_the_run_and_the_next_start_resumes_it(
    runs: RunStore, new_run: NewRun, volume: Volume
) -> None:
    run_id = new_run(max_steps=150)
    thread = when(lambda: steps_reported(runs, run_id), lambda: os.kill(os.getpid(), signal.SIGTERM))
    record = trained(runs, run_id)
    thread.join()
    assert (record.state, record.attempt) == (RunState.QUEUED, 0)
    saved = load_checkpoint(volume.run(run_id) / LAST_CHECKPOINT).training["step"]
    assert 0 < saved < 150

    before = len(steps_reported(runs, run_id))
    record = trained(runs, run_id)
    assert (record.state, record.attempt) == (RunState.SUCCEEDED, 1)
    assert min(steps_reported(runs, run_id)[before:]) > saved


def test_a_run_that_cannot_be_trained_fails_with_a_sentence(runs: RunStore, new_run: NewRun) -> None:
    record = trained(runs, new_run(context_length=16))
    assert record.state is RunState.FAILED
    assert record.error is not None
    assert record.error.code == "training_failed"
    assert "larger context_length" in record.error.message


def test_a_dataset_that_is_gone_fails_with_a_sentence(runs: RunStore, new_run: NewRun, volume: Volume) -> None:
    run_id = new_run()
    for path in volume.dataset(runs.get(run_id).dataset_id).iterdir():
        path.unlink()
    record = trained(runs, run_id)
    assert record.state is RunState.FAILED
    assert record.error is not None
    assert "can't be read" in record.error.message


def test_a_bug_fails_the_run_and_says_where_its_trace_is(
    runs: RunStore, new_run: NewRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def surprise(*_args: object, **_kwargs: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("services.trainer.job.train", surprise)
    record = trained(runs, new_run())
    assert record.state is RunState.FAILED
    assert record.error is not None
    assert record.error.code == "internal_error"
    assert "ZeroDivisionError: a bug" in record.error.message
    assert "Traceback" in capsys.readouterr().out
