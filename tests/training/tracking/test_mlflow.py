"""MLflow, in a SQLite file. Needs the extra: `make test-tracking`."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.training.tracking.followed import CONFIG, follow, needs_mlflow, their_own_warnings, warnings_in
from tinygpt.training.callbacks import StopReason
from tinygpt.training.tracking import TrackerName, trackers
from tinygpt.training.tracking.mlflow import MlflowTracker


@needs_mlflow
@their_own_warnings
def test_mlflow_has_the_values_and_resumes_the_same_run(tmp_path: Path, patient: None) -> None:
    from mlflow import MlflowClient

    folder = tmp_path / "run"
    folder.mkdir()
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")

    with capture_logs() as logs, trackers(folder, CONFIG, [TrackerName.MLFLOW]) as callbacks:
        follow(callbacks, range(1, 21), evaluate=(20,), end=StopReason.STOP_REQUESTED)
    run_id = (folder / "mlflow_run_id").read_text()
    assert client.get_run(run_id).info.status == "KILLED"
    with capture_logs() as more_logs, trackers(folder, CONFIG, [TrackerName.MLFLOW]) as callbacks:
        follow(callbacks, range(21, 41), evaluate=(40,), end=StopReason.MAX_STEPS)

    assert warnings_in(logs) == warnings_in(more_logs) == []
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert run.data.params["model.width"] == str(CONFIG.model.width)
    steps = {each.step: each.value for each in client.get_metric_history(run_id, "loss/train")}
    assert steps == pytest.approx({step: 1 / step for step in (10, 20, 30, 40)})
    assert [each.step for each in client.get_metric_history(run_id, "loss/validation")] == [20, 40]
    assert len(client.search_runs([run.info.experiment_id])) == 1


@needs_mlflow
@their_own_warnings
def test_mlflow_says_that_a_run_failed(tmp_path: Path, patient: None) -> None:
    from mlflow import MlflowClient

    folder = tmp_path / "run"
    folder.mkdir()
    with trackers(folder, CONFIG, [TrackerName.MLFLOW]) as callbacks:
        follow(callbacks, range(1, 11))

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert client.get_run((folder / "mlflow_run_id").read_text()).info.status == "FAILED"


@needs_mlflow
@their_own_warnings
def test_a_run_outlives_a_missing_mlflow_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://store")
    with capture_logs() as logs:
        tracker = MlflowTracker(tmp_path, CONFIG)
        follow([tracker], range(1, 31), end=StopReason.MAX_STEPS)
        tracker.close()
    assert warnings_in(logs) == ["MlflowTracker"]
