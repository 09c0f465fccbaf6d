"""The model in memory: loaded in the background, replaced when another is promoted, never lost to a bad file."""

import contextlib
import threading
import time
from dataclasses import asdict, dataclass

import structlog

from tinygpt.contracts.errors import ModelLoading, NoModel, TinyGPTError
from tinygpt.contracts.models import BEST_CHECKPOINT, TRAINING_ROWS, LoadedModel
from tinygpt.data.rows import read_rows
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.retrieval import RetrievalIndex
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.runtime.volume import Volume

log = structlog.get_logger()

_RETRY_AFTER_SECONDS = 2.0


@dataclass(frozen=True)
class Held:
    """A model ready to answer, and what `/health` says of it."""

    generator: CodeGenerator
    info: LoadedModel


class ModelHolder:
    """Follows `models/current.json` from a thread of its own. A request keeps the `Held` that it began with.

    A checkpoint that will not load leaves the one before it in place; `problem` says why, and it is tried again.
    """

    def __init__(self, volume: Volume, *, follow_seconds: float, similarity_floor: float) -> None:
        self._volume = volume
        self._follow_seconds = follow_seconds
        self._similarity_floor = similarity_floor
        self._held: Held | None = None
        self._looked = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="model-holder", daemon=True)
        self.problem: str | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    @property
    def held(self) -> Held | None:
        return self._held

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

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
            except Exception as error:  # noqa: BLE001  (this thread must outlive any one model)
                self._note_problem(f"{type(error).__name__}: {error}")
            self._looked = True
            self._stop.wait(self._follow_seconds)

    def _look(self) -> None:
        current = self._volume.current()
        if current is None or (self._held and self._held.info.sha256 == current.sha256):
            self.problem = None
            return
        try:
            self._held = self._load(current.run_id, current.sha256)
        except TinyGPTError as error:
            self._note_problem(error.message)
            if self._held is None and current.previous is not None:
                self._fall_back_to(current.previous)
        else:
            self.problem = None
            log.info("model loaded", model_id=current.run_id, parameters=self._held.info.parameters)

    def _fall_back_to(self, run_id: str) -> None:
        """Serve the model before; where that can't be loaded either, what is wrong with the newer one stands."""
        with contextlib.suppress(TinyGPTError):
            self._held = self._load(run_id, self._volume.manifest(run_id).files[BEST_CHECKPOINT].sha256)
            log.info("the model before it is served instead", model_id=run_id)

    def _load(self, run_id: str, sha256: str) -> Held:
        folder = self._volume.run(run_id)
        checkpoint = load_checkpoint(folder / BEST_CHECKPOINT, sha256=sha256)
        rows = read_rows(folder / TRAINING_ROWS)
        generator = CodeGenerator(
            checkpoint.model,
            checkpoint.tokenizer,
            RetrievalIndex(rows),
            model_id=run_id,
            similarity_floor=self._similarity_floor,
        )
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

    def _note_problem(self, problem: str) -> None:
        if problem != self.problem:
            log.error("a promoted model can't be loaded", reason=problem, still_serving=self._held is not None)
        self.problem = problem
