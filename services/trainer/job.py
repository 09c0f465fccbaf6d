"""One training job, as the work horse runs it: take the run, train, judge, promote, record how it ended."""

import contextlib
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import structlog

from services.trainer.promotion import decide_promotion
from services.trainer.reporter import RunReporter, StopCause
from services.trainer.scoring import ScoringStopped, score
from services.trainer.settings import TrainerSettings
from tinygpt.contracts.errors import LeaseLost, RedisUnavailable, TinyGPTError
from tinygpt.contracts.evaluation import EvaluationSummary
from tinygpt.contracts.models import BEST_CHECKPOINT, LAST_CHECKPOINT, TRAINING_ROWS, FileEntry, Manifest
from tinygpt.contracts.runs import Promotion, RunMetrics, RunRecord, RunState
from tinygpt.data.rows import Row, stream_rows
from tinygpt.data.split import Split
from tinygpt.data.store import rows_of
from tinygpt.durable import sha256_of, write_whole
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.runtime.lease import Lease
from tinygpt.runtime.logging import configure_logging
from tinygpt.runtime.queue import connect, redis_errors, training_queue
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.settings import load_settings
from tinygpt.runtime.volume import Volume
from tinygpt.training.callbacks import StopReason
from tinygpt.training.config import config_from_request
from tinygpt.training.run import HELD_OUT_ROWS_SCORED, TrainResult, token_store_for, train
from tinygpt.training.token_store import TokenStore
from tinygpt.training.tracking import trackers

log = structlog.get_logger()


def run_training(run_id: str) -> None:
    """The function that RQ calls. Does nothing if the run is no longer queued or another worker has it."""
    settings = load_settings(TrainerSettings)
    configure_logging("trainer", format=settings.log_format, level=settings.log_level)
    structlog.contextvars.bind_contextvars(run_id=run_id)
    runs = RunStore(connect(settings), training_queue(connect(settings, decode_responses=False)))
    lease = runs.start(run_id, settings.lease_seconds)
    if lease is None:
        log.info("the run is no longer queued; nothing to do")
        return
    try:
        with redis_errors():
            _Job(settings, runs, lease).run()
    except (LeaseLost, RedisUnavailable) as error:
        # Not a failure of the run: the worker that recovers it resumes from its last checkpoint.
        log.warning("stopped", reason=error.message)
    except TinyGPTError as error:
        log.error("run failed", code=error.code, reason=error.message)
        runs.finish(lease, RunState.FAILED, error=error.detail())
    except Exception as error:
        log.exception("run failed on a bug")
        bug = TinyGPTError(f"Training met a bug ({type(error).__name__}: {error}); the trainer's log has the trace.")
        runs.finish(lease, RunState.FAILED, error=bug.detail())


@dataclass(frozen=True)
class _Outcome:
    """What a run that trained to its end has reached."""

    metrics: RunMetrics
    hyperparameters: dict[str, object]
    promotion: Promotion
    evaluation: EvaluationSummary | None


class _Job:
    """One attempt at a run, by the holder of its lease."""

    def __init__(self, settings: TrainerSettings, runs: RunStore, lease: Lease) -> None:
        self.settings = settings
        self.runs = runs
        self.lease = lease
        self.volume = Volume(settings.home)
        self.record: RunRecord = runs.get(lease.run_id)
        self.folder = self.volume.run(lease.run_id)
        self.reporter = RunReporter(runs, lease, self.folder / "events.jsonl")

    def run(self) -> None:
        log.info("run started", dataset=self.record.dataset_id, attempt=self.record.attempt)
        write_whole(self.folder / "request.json", self.record.model_dump_json(indent=2))
        signal.signal(signal.SIGTERM, lambda _signal, _frame: self.reporter.request_yield())
        result, store = self._train()
        outcome = None
        if result.reason is not StopReason.STOP_REQUESTED:
            with contextlib.suppress(ScoringStopped):
                outcome = self._judge(result, store)
        match self.reporter.stop_cause:
            case StopCause.CANCELLED:
                self.runs.finish(self.lease, RunState.CANCELLED)
                log.info("run cancelled")
            case StopCause.YIELDED:
                self.runs.requeue(self.lease)
                log.info("run requeued; it resumes from its last checkpoint")
            case None:
                assert outcome is not None, "only a stop cause ends a run before its outcome"
                self._succeed(outcome)

    def _train(self) -> tuple[TrainResult, TokenStore]:
        config = config_from_request(self.record.request, threads=self.settings.trainer_threads)
        store = token_store_for(
            config,
            rows_of(self.volume.datasets, self.record.dataset_id, poll=self.reporter.poll),
            self.volume.dataset(self.record.dataset_id) / "tokens",
            source_hash=self.record.dataset_id,
            poll=self.reporter.poll,
        )
        with trackers(self.folder, config, self.settings.trainer_track) as tracking:
            return train(config, store, [self.reporter, *tracking], folder=self.folder), store

    def _judge(self, result: TrainResult, store: TokenStore) -> _Outcome:
        """Compare the best checkpoint with the served model, and score it. Raises `ScoringStopped`, `LeaseLost`."""
        assert result.metrics is not None, "a run that ends by itself has been evaluated"
        best = load_checkpoint(result.best)
        split = Split(
            training=list(self._polled(stream_rows(store.training_rows))),
            held_out=list(islice(stream_rows(store.held_out_rows), HELD_OUT_ROWS_SCORED)),
        )
        request, poll = self.record.request, self.reporter.poll
        return _Outcome(
            metrics=result.metrics,
            hyperparameters=asdict(best.model.config),
            promotion=decide_promotion(self.volume, self.lease.run_id, best, split.held_out, request.promote, poll),
            evaluation=score(best, request, split, poll),
        )

    def _succeed(self, outcome: _Outcome) -> None:
        metrics, promotion = outcome.metrics, outcome.promotion
        self.lease.verify()
        self.volume.write_manifest(self._manifest(outcome))
        if promotion.promoted:
            self.volume.promote(self.lease.run_id)
        self.runs.finish(self.lease, RunState.SUCCEEDED, metrics=metrics, promotion=promotion)
        log.info("run succeeded", promoted=promotion.promoted, reason=promotion.reason, **metrics.model_dump())

    def _manifest(self, outcome: _Outcome) -> Manifest:
        return Manifest(
            run_id=self.lease.run_id,
            dataset_id=self.record.dataset_id,
            created_at=time.time(),
            files={name: _entry(self.folder / name) for name in (BEST_CHECKPOINT, LAST_CHECKPOINT, TRAINING_ROWS)},
            metrics=outcome.metrics,
            hyperparameters=outcome.hyperparameters,
            promotion=outcome.promotion,
            evaluation=outcome.evaluation,
        )

    def _polled(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows. The lease is renewed while they are read."""
        for row in rows:
            self.reporter.poll()
            yield row


def _entry(path: Path) -> FileEntry:
    return FileEntry(sha256=sha256_of(path), size_bytes=path.stat().st_size)
