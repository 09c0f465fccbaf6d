"""`python -m services.trainer`: wait for Redis, then work until told to stop."""

import os
import sys

import structlog
import tenacity

from services.trainer.settings import TrainerSettings
from services.trainer.worker import TrainerWorker
from tinygpt.contracts.errors import RedisUnavailable, TinyGPTError
from tinygpt.durable import storage_errors
from tinygpt.runtime.logging import configure_logging
from tinygpt.runtime.queue import connect, redis_errors, training_queue
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.settings import load_settings
from tinygpt.training.tracking import check_installed

log = structlog.get_logger()


def main() -> None:
    # On a busy machine, threads that wait by spinning make a training step three times slower or more.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    settings = load_settings(TrainerSettings)
    configure_logging("trainer", format=settings.log_format, level=settings.log_level)
    queue = training_queue(connect(settings, decode_responses=False))
    try:
        check_installed(settings.trainer_track)
        with storage_errors(settings.home):
            (settings.home / "runs").mkdir(parents=True, exist_ok=True)
        _wait_for_redis(settings)
    except (TinyGPTError, OSError) as error:
        sys.exit(f"The trainer can't start: {error}")
    worker = TrainerWorker(queue, RunStore(connect(settings), queue), settings)
    log.info("trainer ready", queue=queue.name)
    worker.work(logging_level="WARNING")
    if not worker.stop_requested:
        sys.exit("The trainer lost Redis or met a bug and stops; start it again.")


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(RedisUnavailable),
    stop=tenacity.stop_after_delay(60),
    wait=tenacity.wait_fixed(0.5),
    reraise=True,
)
def _wait_for_redis(settings: TrainerSettings) -> None:
    with redis_errors():
        connect(settings).ping()


if __name__ == "__main__":
    main()
