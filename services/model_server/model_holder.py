"""The model in memory: loaded in the background, replaced when another is promoted, never lost to a bad file."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import structlog

from services.model_server.metrics import DecodingMetrics
from services.model_server.settings import ModelServerSettings
from tinygpt.contracts.errors import ModelLoading, NoModel, TinyGPTError
from tinygpt.contracts.generation import GenerateRequest
from tinygpt.contracts.models import BEST_CHECKPOINT, TRAINING_ROWS, LoadedModel
from tinygpt.data.rows import read_rows
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.retrieval import RetrievalIndex
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.runtime.volume import Volume

log = structlog.get_logger()

_RETRY_AFTER_SECONDS = 2.0
_WARMING = GenerateRequest(prompt="x", max_new_tokens=2, n=2, temperature=1.0, logprobs=1, fallback="never")
"""A model's first request, and nobody's: what is compiled on first use is there before a client waits for it."""


@dataclass(eq=False)
class Held:
    """A model ready to answer, what `/health` says of it, and how many requests use it."""

    generator: CodeGenerator
    info: LoadedModel
    users: int = 0


class ModelHolder:
    """Follows `models/current.json` from a thread of its own: a newer model is loaded and warmed beside the one that
    is served, and then takes its place. A request ends on the model that it began with; the last one to leave a model
    that was replaced lets it go.

    A checkpoint that will not load leaves the one before it in place; `problem` says why, and it is tried again.
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
        self.problem: str | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Put every model away; requests that still use one end as cancelled."""
        self._stop.set()
        self._thread.join(timeout=10)
        for held in self._all():
            held.generator.close()

    @property
    def held(self) -> Held | None:
        return self._held

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
        held = self._held
        if held is not None:
            return held
        if self._looked and self._volume.current() is None:
            raise NoModel("There is no model yet: POST /train makes one.", retry_after=_RETRY_AFTER_SECONDS)
        raise ModelLoading(
            f"The model is loading: try again shortly.{f' ({self.problem})' if self.problem else ''}",
            retry_after=_RETRY_AFTER_SECONDS,
        )

    def why_not(self) -> str | None:
        """Why `/health` has no model, or not the newest one."""
        if self._held is None and self._looked and self.problem is None:
            return "no model has been promoted yet: POST /train makes one"
        return self.problem

    def _all(self) -> list[Held]:
        with self._lock:
            return [*self._replaced, self._held] if self._held else []

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
        current = self._volume.current()
        if current is None or (self._held and self._held.info.sha256 == current.sha256):
            self.problem = None
            return
        try:
            self._serve(current.run_id, current.sha256)
        except TinyGPTError as error:
            self._note_problem(error.message)
            if self._held is None and current.previous is not None:
                self._fall_back_to(current.previous)
        else:
            self.problem = None

    def _fall_back_to(self, run_id: str) -> None:
        """Serve the model before; where that can't be loaded either, what is wrong with the newer one stands."""
        with contextlib.suppress(TinyGPTError):
            self._serve(run_id, self._volume.manifest(run_id).files[BEST_CHECKPOINT].sha256)

    def _serve(self, run_id: str, sha256: str) -> None:
        started = time.perf_counter()
        held = self._load(run_id, sha256)
        with self._lock:
            if self._held is not None:
                self._replaced.append(self._held)
            self._held = held
        seconds = time.perf_counter() - started
        self._metrics.loaded(seconds)
        log.info("model loaded", model_id=run_id, parameters=held.info.parameters, seconds=round(seconds, 2))

    def _load(self, run_id: str, sha256: str) -> Held:
        folder = self._volume.run(run_id)
        checkpoint = load_checkpoint(folder / BEST_CHECKPOINT, sha256=sha256)
        rows = read_rows(folder / TRAINING_ROWS)
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
            threads=self._settings.model_server_decode_threads or os.cpu_count() or 1,
            on_end=lambda sequence: self._metrics.decoded(sequence) if warm.is_set() else None,
        )
        generator.generate(_WARMING)
        warm.set()
        info = LoadedModel(
            model_id=run_id,
            sha256=sha256,
            parameters=checkpoint.model.parameter_count,
            hyperparameters=asdict(checkpoint.model.config),
            validation_loss=checkpoint.training.get("best_validation_loss"),
            retrieval_rows=len(rows),
            loaded_at=time.time(),
        )
        return Held(generator, info)

    def _let_go_of_unused(self) -> None:
        """Close the replaced models that no request uses any more."""
        with self._lock:
            unused = [held for held in self._replaced if not held.users]
            self._replaced = [held for held in self._replaced if held.users]
        for held in unused:
            held.generator.close()

    def _note_problem(self, problem: str) -> None:
        if problem != self.problem:
            self._metrics.not_loaded()
            log.error("a promoted model can't be loaded", reason=problem, still_serving=self._held is not None)
        self.problem = problem
