"""RQ's worker, taught three things: recover lost runs, tolerate a short absence of Redis, yield on SIGTERM."""

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

_TURN_SECONDS = 5
_RQ_MARGIN_SECONDS = 15
"""RQ waits for a job for `worker_ttl` less this."""


class TrainerWorker(Worker):
    """Runs each job in a forked child (RQ's "work horse"), so that a run which dies takes nothing with it."""

    max_connection_wait_time = _TURN_SECONDS

    def __init__(self, queue: Queue, runs: RunStore, settings: TrainerSettings) -> None:
        super().__init__(
            [queue],
            connection=queue.connection,
            serializer=JSONSerializer,
            worker_ttl=_TURN_SECONDS + _RQ_MARGIN_SECONDS,
            maintenance_interval=_TURN_SECONDS,
            job_monitoring_interval=_TURN_SECONDS,
        )
        self._runs = runs
        self._alive_file = settings.trainer_alive_file
        self.told_to_stop = False

    def run_maintenance_tasks(self) -> None:
        """Every few seconds while there is no job; at once at the start."""
        super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        self._recover_lost_runs()

    def maintain_heartbeats(self, *args: Any, **kwargs: Any) -> None:
        """Every few seconds while a job runs. Redis may be away for a moment: the job's own lease decides its fate."""
        try:
            with redis_errors():
                super().maintain_heartbeats(*args, **kwargs)
                self._recover_lost_runs()
        except RedisUnavailable as error:
            log.warning("the run goes on without redis", reason=error.message)

    def handle_work_horse_killed(self, job: Any, pid: int, ret_val: int, _rusage: Any) -> None:
        """The child died without a word (out of memory, most often): its run need not wait for the lease to lapse."""
        log.warning("the run's process died", run_id=job.id, wait_status=ret_val)
        self._runs.forget_lease(job.id, pid)

    def handle_warm_shutdown_request(self) -> None:
        """SIGTERM and Ctrl-C: the run under way saves, goes back to the queue and ends."""
        self.told_to_stop = True
        if self.horse_pid:
            self.kill_horse(signal.SIGTERM)

    def teardown(self) -> None:
        """Redis may have stopped first, as when a whole stack does: it forgets a worker whose farewell it misses."""
        try:
            with redis_errors():
                super().teardown()  # type: ignore[no-untyped-call]
        except RedisUnavailable as error:
            log.warning("the trainer leaves without a farewell", reason=error.message)

    def _recover_lost_runs(self) -> None:
        self._alive_file.touch()
        for record in self._runs.recover():
            log.info("recovered a lost run", run_id=record.run_id, state=record.state.value, attempt=record.attempt)
