"""The model that is served: follows `models/current.json`, replaces the model, and keeps the old one if that fails."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from services.model_server.garbage_collection import freeze_live_objects, refreeze_live_objects
from services.model_server.metrics import DecodingMetrics
from services.model_server.model_loading import ServedModel, load_model
from services.model_server.settings import ModelServerSettings
from tinygpt.contracts.errors import ModelLoading, NoModel, TinyGPTError
from tinygpt.contracts.models import BEST_CHECKPOINT
from tinygpt.runtime.volume import Volume

log = structlog.get_logger()

_RETRY_AFTER_SECONDS = 2.0
_MAX_BACKOFF_SECONDS = 60.0


@dataclass(frozen=True)
class _Failure:
    """A checkpoint that could not be loaded, how often in a row, and when to retry (by `time.monotonic`)."""

    sha256: str
    attempts: int
    retry_at: float


class ModelHolder:
    """Follows `models/current.json` in its own thread. A newer model is loaded and warmed up beside the served one,
    then takes its place. A request ends on the model that it began with, and a replaced model is closed after its last
    request.

    If a checkpoint can't be loaded, the model before it stays, `problem` says why, and the load is retried with
    exponential backoff. A model whose decoder has failed for good is loaded again.
    """

    def __init__(self, settings: ModelServerSettings, metrics: DecodingMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._volume = Volume(settings.home)
        self._lock = threading.Lock()
        """Guards `_served`, `_replaced` and every `ServedModel.users`."""
        self._served: ServedModel | None = None
        self._replaced: list[ServedModel] = []
        """Models that were replaced and still have requests."""
        self._has_looked = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="model-holder", daemon=True)
        self._failure: _Failure | None = None
        self.problem: str | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close every model. Requests that still use one end with `Draining`."""
        self._stop.set()
        self._thread.join(timeout=10)
        for model in self._all():
            model.generator.close()

    # -- for requests

    @contextlib.contextmanager
    def in_use(self) -> Iterator[ServedModel]:
        """The served model, which stays in memory while the body runs. Raises `ModelLoading` or `NoModel`."""
        with self._lock:
            model = self.require()
            model.users += 1
        try:
            yield model
        finally:
            with self._lock:
                model.users -= 1

    def require(self) -> ServedModel:
        """The served model. Raises `ModelLoading` or `NoModel`."""
        model = self.served
        if model is not None:
            return model
        if self.none_promoted:
            raise NoModel("There is no model yet: POST /train makes one.", retry_after=_RETRY_AFTER_SECONDS)
        raise ModelLoading(
            f"The model is loading: try again shortly.{f' ({self.problem})' if self.problem else ''}",
            retry_after=_RETRY_AFTER_SECONDS,
        )

    @property
    def served(self) -> ServedModel | None:
        """The served model; None if there is none, or if its decoder has failed for good."""
        model = self._served
        return model if model is not None and model.generator.engine.usable else None

    # -- for probes and metrics

    @property
    def alive(self) -> bool:
        """False if the thread that loads models has ended."""
        return self._thread.is_alive()

    @property
    def running(self) -> int:
        """Sequences in a slot, over all models."""
        return sum(model.generator.engine.running for model in self._all())

    @property
    def waiting(self) -> int:
        """Sequences that wait for a slot, over all models."""
        return sum(model.generator.engine.waiting for model in self._all())

    @property
    def slots(self) -> int:
        """Slots of the served model."""
        return self._served.generator.engine.slots if self._served else 0

    @property
    def none_promoted(self) -> bool:
        """True if there is no model to load."""
        return self._has_looked and self._volume.current() is None

    @property
    def reason(self) -> str | None:
        """Why no model is served, or why a newer one is not; None if all is well."""
        if self.problem is not None or self.served is not None:
            return self.problem
        return "no model has been promoted yet: POST /train makes one" if self.none_promoted else "the model is loading"

    def _all(self) -> list[ServedModel]:
        with self._lock:
            return [*self._replaced, self._served] if self._served else list(self._replaced)

    # -- in the thread

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                self._update()
            except Exception as error:  # noqa: BLE001  (this thread must outlive any one model)
                self._record_problem(f"{type(error).__name__}: {error}")
            self._has_looked = True
            self._close_unused()
            self._stop.wait(self._settings.model_server_follow_seconds)

    def _update(self) -> None:
        """Load the promoted model if it is not the served one, and its backoff is over."""
        self._drop_unusable()
        current = self._volume.current()
        if current is None or (self._served and self._served.info.sha256 == current.sha256):
            self.problem = self._failure = None
            return
        failure = self._failure
        if failure is not None and failure.sha256 == current.sha256 and time.monotonic() < failure.retry_at:
            return
        try:
            self._serve(current.run_id, current.sha256)
        except Exception as error:  # noqa: BLE001  (whatever it is, the next attempt waits longer)
            if self._stop.is_set():
                return
            message = error.message if isinstance(error, TinyGPTError) else f"{type(error).__name__}: {error}"
            self._record_problem(message)
            self._back_off(current.sha256)
            if self._served is None and current.previous is not None:
                self._fall_back_to(current.previous)
        else:
            self.problem = self._failure = None

    def _serve(self, run_id: str, sha256: str) -> None:
        started = time.perf_counter()
        folder = self._volume.run(run_id)
        model = load_model(folder, sha256, self._settings, stop=self._stop, on_end=self._metrics.ended)
        freeze_live_objects()
        with self._lock:
            if self._stop.is_set():  # `stop` closed the models that it knew
                model.generator.close()
                return
            if self._served is not None:
                self._replaced.append(self._served)
            self._served = model
        seconds = time.perf_counter() - started
        self._metrics.loaded(seconds)
        log.info("model loaded", model_id=run_id, parameters=model.info.parameters, seconds=round(seconds, 2))

    def _drop_unusable(self) -> None:
        """Stop serving a model whose decoder has failed for good, so that it is loaded again."""
        model = self._served
        if model is not None and not model.generator.engine.usable:
            log.error("the model's decoder failed: it is loaded again", model_id=model.info.model_id)
            with self._lock:
                self._replaced.append(model)
                self._served = None

    def _fall_back_to(self, run_id: str) -> None:
        """Serve the previous model. If that can't be loaded either, `problem` stays that of the newer one."""
        with contextlib.suppress(Exception):
            self._serve(run_id, self._volume.manifest(run_id).files[BEST_CHECKPOINT].sha256)

    def _back_off(self, sha256: str) -> None:
        attempts = self._failure.attempts + 1 if self._failure and self._failure.sha256 == sha256 else 1
        seconds = min(_MAX_BACKOFF_SECONDS, self._settings.model_server_follow_seconds * 2.0 ** min(attempts, 20))
        self._failure = _Failure(sha256, attempts, time.monotonic() + seconds)

    def _close_unused(self) -> None:
        """Close the replaced models that no request uses any more."""
        with self._lock:
            unused = [model for model in self._replaced if not model.users]
            self._replaced = [model for model in self._replaced if model.users]
        if not unused:
            return
        while unused:  # emptied, so that no reference is left when they are collected
            unused.pop().generator.close()
        refreeze_live_objects()

    def _record_problem(self, problem: str) -> None:
        if problem != self.problem:
            self._metrics.not_loaded()
            log.error("a promoted model can't be loaded", reason=problem, still_serving=self._served is not None)
        self.problem = problem
