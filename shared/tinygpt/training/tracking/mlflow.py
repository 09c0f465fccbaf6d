"""MLflow: a store in `mlflow.db` (SQLite) beside the run's folder, so that runs side by side can be compared."""

import os
import time
from collections.abc import Mapping

from tinygpt.training.callbacks import StopReason
from tinygpt.training.tracking.background import BackgroundTracker
from tinygpt.training.tracking.extras import TrackerName
from tinygpt.training.tracking.tracker import PROJECT, hyperparameters


class MlflowTracker(BackgroundTracker):
    """MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME replace the store and the experiment's name."""

    name = TrackerName.MLFLOW

    def _open(self, step: int) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        store = (self._folder.resolve().parent / "mlflow.db").as_posix()
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{store}"))
        if (saved_id := self._saved_id(step)) is not None:
            self._run_id = saved_id
            self._client.update_run(self._run_id, status="RUNNING")
            return
        project = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self._client.get_experiment_by_name(project)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(project)
        self._run_id = self._client.create_run(experiment_id, run_name=self._folder.resolve().name).info.run_id
        params = [Param(name, str(value)) for name, value in hyperparameters(self._config).items()]
        self._client.log_batch(self._run_id, params=params)
        self._save_id(self._run_id)

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self._run_id, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def _finish(self, reason: StopReason | None) -> None:
        if reason is None:
            status = "FAILED"
        elif reason is StopReason.STOP_REQUESTED:
            status = "KILLED"
        else:
            status = "FINISHED"
        self._client.set_terminated(self._run_id, status)
