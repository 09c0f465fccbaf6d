"""The model in memory: loaded in the background, replaced when another is promoted, never lost to a bad file."""

import contextlib
import gc
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import structlog

from services.model_server.cores import usable_cores
from services.model_server.metrics import DecodingMetrics
from services.model_server.settings import ModelServerSettings
from tinygpt.contracts.errors import Draining, ModelLoading, NoModel, TinyGPTError
from tinygpt.contracts.explain import ExplainRequest
from tinygpt.contracts.generation import GenerateRequest
from tinygpt.contracts.models import BEST_CHECKPOINT, TRAINING_ROWS, LoadedModel
from tinygpt.data.rows import read_rows
from tinygpt.inference.explain import explain
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.retrieval import RetrievalIndex
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.runtime.volume import Volume

log = structlog.get_logger()

_RETRY_AFTER_SECONDS = 2.0
_LONGEST_BACKOFF_SECONDS = 60.0
_WARMING = GenerateRequest(prompt="x", max_new_tokens=2, temperature=1.0, logprobs=1, balanced=True, fallback="never")
_EXPLAINED = ExplainRequest(prompt="x", max_new_tokens=1)
"""A model's first requests, and nobody's: what is compiled on first use is there before a client waits for it."""


@dataclass(eq=False)
class Held:
    """A model ready to answer, what `/health` says of it, and how many requests use it."""

    generator: CodeGenerator
    info: LoadedModel
    users: int = 0


@dataclass(frozen=True)
class _Failure:
    """A checkpoint that would not load so many times over, and by `time.monotonic` when to try again."""

    sha256: str
    times: int
    retry_at: float


class ModelHolder:
    """Follows `models/current.json` from a thread of its own: a newer model is loaded and warmed beside the one that
    is served, and then takes its place. A request ends on the model that it began with; the last one to leave a model
    that was replaced lets it go.

    A checkpoint that will not load leaves the one before it in place; `problem` says why, and it is tried again, after
    twice the time each time. A model whose decoder failed for good is loaded anew.
    """

    def __init__(self, settings: ModelServerSettings, metrics: DecodingMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._volume = Volume(settings.home)
        self._lock = threading.Lock()
        """Guards `_held`, `_replaced` and every `Held.users`."""
        self._held: Held | None = None
        self._replaced: list[Held] = []
        """Those before it that still answer."""
        self._looked = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="model-holder", daemon=True)
        self._failure: _Failure | None = None
        self.problem: str | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Put every model away, and wait until it is; requests that still use one end with `Draining`."""
        self._stop.set()
        self._thread.join(timeout=10)
        for held in self._all():
            held.generator.close()

    @property
    def held(self) -> Held | None:
        """The model, where it can decode."""
        held = self._held
        return held if held is not None and held.generator.engine.usable else None

    @property
    def alive(self) -> bool:
        """Whether there is still a thread that follows, and would mend a decoder."""
        return self._thread.is_alive()

    @property
    def running(self) -> int:
        """Sequences in a slot, of every model."""
        return sum(held.generator.engine.running for held in self._all())

    @property
    def waiting(self) -> int:
        """Sequences that wait for a slot, of every model."""
        return sum(held.generator.engine.waiting for held in self._all())

    @property
    def slots(self) -> int:
        """Of the model that is served."""
        return self._held.generator.engine.slots if self._held else 0

    @contextlib.contextmanager
    def in_use(self) -> Iterator[Held]:
        """The model, which stays in memory for as long as the body runs. Raises `ModelLoading` or `NoModel`."""
        with self._lock:
            held = self.require()
            held.users += 1
        try:
            yield held
        finally:
            with self._lock:
                held.users -= 1

    def require(self) -> Held:
        """The model, or `ModelLoading` or `NoModel`."""
        held = self.held
        if held is not None:
            return held
        if self.none_promoted:
            raise NoModel("There is no model yet: POST /train makes one.", retry_after=_RETRY_AFTER_SECONDS)
        raise ModelLoading(
            f"The model is loading: try again shortly.{f' ({self.problem})' if self.problem else ''}",
            retry_after=_RETRY_AFTER_SECONDS,
        )

    @property
    def none_promoted(self) -> bool:
        """Whether there is no model to load."""
        return self._looked and self._volume.current() is None

    def why_not(self) -> str | None:
        """Why `/health` has no model, or not the newest one."""
        if self.problem is not None or self.held is not None:
            return self.problem
        return "no model has been promoted yet: POST /train makes one" if self.none_promoted else "the model is loading"

    def _all(self) -> list[Held]:
        with self._lock:
            return [*self._replaced, self._held] if self._held else list(self._replaced)

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
            except Exception as error:  # noqa: BLE001  (this thread must outlive any one model)
                self._note_problem(f"{type(error).__name__}: {error}")
            self._looked = True
            self._let_go_of_unused()
            self._stop.wait(self._settings.model_server_follow_seconds)

    def _look(self) -> None:
        self._drop_unusable()
        current = self._volume.current()
        if current is None or (self._held and self._held.info.sha256 == current.sha256):
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
            self._note_problem(error.message if isinstance(error, TinyGPTError) else f"{type(error).__name__}: {error}")
            self._back_off(current.sha256)
            if self._held is None and current.previous is not None:
                self._fall_back_to(current.previous)
        else:
            self.problem = self._failure = None

    def _back_off(self, sha256: str) -> None:
        times = self._failure.times + 1 if self._failure and self._failure.sha256 == sha256 else 1
        seconds = min(_LONGEST_BACKOFF_SECONDS, self._settings.model_server_follow_seconds * 2.0 ** min(times, 20))
        self._failure = _Failure(sha256, times, time.monotonic() + seconds)

    def _drop_unusable(self) -> None:
        held = self._held
        if held is not None and not held.generator.engine.usable:
            log.error("the model's decoder failed: it is loaded anew", model_id=held.info.model_id)
            with self._lock:
                self._replaced.append(held)
                self._held = None

    def _fall_back_to(self, run_id: str) -> None:
        """Serve the model before; where that can't be loaded either, what is wrong with the newer one stands."""
        with contextlib.suppress(Exception):
            self._serve(run_id, self._volume.manifest(run_id).files[BEST_CHECKPOINT].sha256)

    def _serve(self, run_id: str, sha256: str) -> None:
        started = time.perf_counter()
        held = self._load(run_id, sha256)
        _spare_from_collection()
        with self._lock:
            if self._stop.is_set():  # `stop` put away what it knew of
                held.generator.close()
                return
            if self._held is not None:
                self._replaced.append(self._held)
            self._held = held
        seconds = time.perf_counter() - started
        self._metrics.loaded(seconds)
        log.info("model loaded", model_id=run_id, parameters=held.info.parameters, seconds=round(seconds, 2))

    def _load(self, run_id: str, sha256: str) -> Held:
        folder = self._volume.run(run_id)
        checkpoint = load_checkpoint(folder / BEST_CHECKPOINT, sha256=sha256)
        self._require_not_stopped()
        rows = read_rows(folder / TRAINING_ROWS)
        self._require_not_stopped()
        warm = threading.Event()
        generator = CodeGenerator(
            checkpoint.model,
            checkpoint.tokenizer,
            RetrievalIndex(rows),
            model_id=run_id,
            similarity_floor=self._settings.similarity_floor,
            slots=self._settings.model_server_slots,
            max_waiting=self._settings.model_server_max_waiting,
            backend=self._settings.model_server_decoder,
            weights=self._settings.model_server_weights,
            threads=self._settings.model_server_decode_threads or usable_cores(),
            on_end=lambda sequence: self._metrics.ended(sequence) if warm.is_set() else None,
        )
        try:
            self._require_not_stopped()
            generator.generate(_WARMING.model_copy(update={"n": min(2, self._settings.model_server_slots)}))
            self._require_not_stopped()
            explain(checkpoint.model, checkpoint.tokenizer, _EXPLAINED, model_id=run_id)
        except BaseException:
            generator.close()
            raise
        warm.set()
        info = LoadedModel(
            model_id=run_id,
            sha256=sha256,
            parameters=checkpoint.model.parameter_count,
            hyperparameters=asdict(checkpoint.model.config),
            validation_loss=checkpoint.training.get("best_validation_loss"),
            retrieval_rows=len(rows),
            decoder=generator.backend,
            weights=generator.weights,
            loaded_at=time.time(),
        )
        return Held(generator, info)

    def _require_not_stopped(self) -> None:
        """Raise `Draining` once `stop` was called: what is half loaded is not needed any more."""
        if self._stop.is_set():
            raise Draining("The server stops.")

    def _let_go_of_unused(self) -> None:
        """Close the replaced models that no request uses any more."""
        with self._lock:
            unused = [held for held in self._replaced if not held.users]
            self._replaced = [held for held in self._replaced if held.users]
        if not unused:
            return
        while unused:
            unused.pop().generator.close()
        gc.unfreeze()
        _spare_from_collection()

    def _note_problem(self, problem: str) -> None:
        if problem != self.problem:
            self._metrics.not_loaded()
            log.error("a promoted model can't be loaded", reason=problem, still_serving=self._held is not None)
        self.problem = problem


def _spare_from_collection() -> None:
    """Let the garbage collector pass over all that is of use now. PyTorch and a model are hundreds of thousands of
    objects: to go through them takes a tenth of a second, in which no thread answers anybody."""
    gc.collect()
    gc.freeze()
