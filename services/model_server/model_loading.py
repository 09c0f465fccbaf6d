"""Loading a model: its checkpoint, its training rows, its decoder, and first requests that warm it up."""

import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from services.model_server.cores import usable_cores
from services.model_server.settings import ModelServerSettings
from tinygpt.contracts.errors import Draining
from tinygpt.contracts.explain import ExplainRequest
from tinygpt.contracts.generation import GenerateRequest
from tinygpt.contracts.models import BEST_CHECKPOINT, TRAINING_ROWS, LoadedModel
from tinygpt.data.rows import read_rows
from tinygpt.inference.engine import OnEnd
from tinygpt.inference.explain import explain
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.retrieval import RetrievalIndex
from tinygpt.model.checkpoint import load_checkpoint

_WARM_UP = GenerateRequest(prompt="x", max_new_tokens=2, temperature=1.0, logprobs=1, balanced=True, fallback="never")
_WARM_UP_EXPLANATION = ExplainRequest(prompt="x", max_new_tokens=1)


@dataclass(eq=False)
class ServedModel:
    """A model that is ready to answer, its metadata for `/health`, and the number of requests that use it."""

    generator: CodeGenerator
    info: LoadedModel
    users: int = 0


def load_model(
    folder: Path, sha256: str, settings: ModelServerSettings, *, stop: threading.Event, on_end: OnEnd
) -> ServedModel:
    """Load and warm up the best checkpoint of the run in `folder`. `on_end` gets the end of every later sequence.

    Warming up compiles what is compiled on first use, so that no client waits for it.

    Raises `Draining` once `stop` is set, `InvalidCheckpoint`, and whatever the decoder raises.
    """

    def require_running() -> None:
        if stop.is_set():
            raise Draining("The server stops.")

    checkpoint = load_checkpoint(folder / BEST_CHECKPOINT, sha256=sha256)
    require_running()
    rows = read_rows(folder / TRAINING_ROWS)
    require_running()
    warm = threading.Event()
    generator = CodeGenerator(
        checkpoint.model,
        checkpoint.tokenizer,
        RetrievalIndex(rows),
        model_id=folder.name,
        similarity_floor=settings.similarity_floor,
        slots=settings.model_server_slots,
        max_waiting=settings.model_server_max_waiting,
        backend=settings.model_server_decoder,
        weights=settings.model_server_weights,
        threads=settings.model_server_decode_threads or usable_cores(),
        on_end=lambda end: on_end(end) if warm.is_set() else None,
    )
    try:
        require_running()
        generator.generate(_WARM_UP.model_copy(update={"n": min(2, settings.model_server_slots)}))
        require_running()
        explain(checkpoint.model, checkpoint.tokenizer, _WARM_UP_EXPLANATION, model_id=folder.name)
    except BaseException:
        generator.close()
        raise
    warm.set()
    info = LoadedModel(
        model_id=folder.name,
        sha256=sha256,
        parameters=checkpoint.model.parameter_count,
        hyperparameters=asdict(checkpoint.model.config),
        validation_loss=checkpoint.training.get("best_validation_loss"),
        retrieval_rows=len(rows),
        decoder=generator.backend,
        weights=generator.weights,
        loaded_at=time.time(),
    )
    return ServedModel(generator, info)
