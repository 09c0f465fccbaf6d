"""RQ's worker with three changes: it recovers lost runs, tolerates a short absence of Redis, and yields on SIGTERM."""

import signal
from typing import Any

import structlog
from rq import Queue, Worker
from rq.serializers import JSONSerializer

from services.trainer.settings import TrainerSettings
from tinygpt.contracts.errors import RedisUnavailable
from tinygpt.runtime.queue import redis_errors
from tinygpt.runtime.runs import RunStore

log = structlog.get_logger()

_MAINTENANCE_SECONDS = 5
_RQ_MARGIN_SECONDS = 15
"""RQ waits for a job for `worker_ttl` minus this."""


class TrainerWorker(Worker):
    """Runs each job in a forked child (RQ's "work horse"), so that a crash of a run does not end the worker.

    The methods below override RQ's. Their names and arguments are RQ's.
    """

    max_connection_wait_time = _MAINTENANCE_SECONDS

    def __init__(self, queue: Queue, runs: RunStore, settings: TrainerSettings) -> None:
        super().__init__(
            [queue],
            connection=queue.connection,
            serializer=JSONSerializer,
            worker_ttl=_MAINTENANCE_SECONDS + _RQ_MARGIN_SECONDS,
            maintenance_interval=_MAINTENANCE_SECONDS,
            job_monitoring_interval=_MAINTENANCE_SECONDS,
        )
        self._runs = runs
        self._alive_file = settings.trainer_alive_file
        self.stop_requested = False

    def run_maintenance_tasks(self) -> None:
        """Called at the start, and every few seconds while there is no job."""
        super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        self._recover_lost_runs()

    def maintain_heartbeats(self, *args: Any, **kwargs: Any) -> None:
        """Called every few seconds while a job runs. If Redis is away, the job's lease decides whether it continues."""
        try:
            with redis_errors():
                super().maintain_heartbeats(*args, **kwargs)
                self._recover_lost_runs()
        except RedisUnavailable as error:
            log.warning("the run continues without redis", reason=error.message)

    def handle_work_horse_killed(self, job: Any, pid: int, ret_val: int, _rusage: Any) -> None:
        """The child died, most often for lack of memory. Its lease ends now, so that the run is recovered at once."""
        log.warning("the run's process died", run_id=job.id, wait_status=ret_val)
        self._runs.forget_lease(job.id, pid)

    def handle_warm_shutdown_request(self) -> None:
        """SIGTERM or Ctrl-C: the current run saves, is requeued, and ends."""
        self.stop_requested = True
        if self.horse_pid:
            self.kill_horse(signal.SIGTERM)

    def teardown(self) -> None:
        """Deregister. If the whole stack stops, Redis may be gone already; its entry for this worker expires then."""
        try:
            with redis_errors():
                super().teardown()  # type: ignore[no-untyped-call]
        except RedisUnavailable as error:
            log.warning("the trainer could not deregister", reason=error.message)

    def _recover_lost_runs(self) -> None:
        self._alive_file.touch()
        for record in self._runs.recover():
            log.info("recovered a lost run", run_id=record.run_id, state=record.state.value, attempt=record.attempt)
