"""How well a new model answers: a sample of rows that it never saw, judged by running their checks."""

from collections.abc import Callable, Sequence

import structlog

from tinygpt.contracts.errors import TinyGPTError
from tinygpt.contracts.evaluation import EvaluationSummary
from tinygpt.contracts.runs import DEFAULT_DATASET, TrainRequest
from tinygpt.data.examples import Split
from tinygpt.data.rows import Row, read_rows
from tinygpt.data.store import held_out_rows
from tinygpt.evaluation.evaluate import EvaluationProgress, evaluate
from tinygpt.inference.decoder import Backend
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.retrieval import RetrievalIndex
from tinygpt.model.checkpoint import Checkpoint

log = structlog.get_logger()

_SAMPLE = 50
_SLOTS = 32
"""Prompts that are answered at once."""
_BACKEND: Backend = "torch"
"""So few answers are written before the compiled decoder's kernels would be compiled."""


class ScoringStopped(Exception):
    """The run was cancelled or told to yield while its model was scored."""


def rows_to_score(request: TrainRequest, split: Split) -> Sequence[Row]:
    """Rows that the run did not learn from. The bundled dataset brings its own, held out by more than the prompt."""
    if request.dataset == DEFAULT_DATASET:
        return read_rows(held_out_rows())
    return split.held_out


def score(
    checkpoint: Checkpoint, training: Sequence[Row], held_out: Sequence[Row], should_stop: Callable[[], bool]
) -> EvaluationSummary | None:
    """Judge the first held-out rows that have a `check`; None where none has, or where code can't be run apart.

    Raises `ScoringStopped` when `should_stop()` says so.
    """
    sample = [row for row in held_out if "check" in row.extra][:_SAMPLE]
    if not sample:
        return None

    def told(_progress: EvaluationProgress) -> None:
        if should_stop():
            raise ScoringStopped

    index = RetrievalIndex(training)
    generator = CodeGenerator(
        checkpoint.model, checkpoint.tokenizer, index, model_id="challenger", slots=_SLOTS, backend=_BACKEND
    )
    try:
        report = evaluate(generator, sample, workers=1, on_progress=told)
    except (TinyGPTError, OSError) as error:
        log.warning("the model was not scored", reason=str(error))
        return None
    finally:
        generator.close()
    return report.summary()
