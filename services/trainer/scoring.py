"""Scoring a new model: its answers to a sample of rows that it never saw, judged by running their checks."""

import contextlib
from collections.abc import Callable, Sequence

import structlog

from tinygpt.contracts.errors import LeaseLost, TinyGPTError
from tinygpt.contracts.evaluation import EvaluationSummary
from tinygpt.contracts.runs import DEFAULT_DATASET, TrainRequest
from tinygpt.data.bundled import held_out_rows
from tinygpt.data.rows import Row, evenly_spaced, read_rows
from tinygpt.data.split import Split
from tinygpt.evaluation.evaluate import evaluate
from tinygpt.evaluation.progress import EvaluationProgress
from tinygpt.inference.backend import Backend
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.retrieval import RetrievalIndex
from tinygpt.model.checkpoint import Checkpoint

log = structlog.get_logger()

_SAMPLE = 50
_SLOTS = 32
"""Prompts answered at once."""
_BACKEND: Backend = "torch"
"""Compiling the compiled decoder's kernels would take longer than these few answers."""


class ScoringStopped(Exception):
    """The run was cancelled or has to yield while its model is scored."""


def score(
    checkpoint: Checkpoint, request: TrainRequest, split: Split, should_stop: Callable[[], bool]
) -> EvaluationSummary | None:
    """Judge some of the rows that the run did not learn from and that have a `check`.

    None if there are no such rows, if they can't be read, or if this machine has no sandbox. Raises `ScoringStopped`
    if `should_stop()` is true, and `LeaseLost` if that raises it.
    """

    def check_stop(_progress: EvaluationProgress) -> None:
        if should_stop():
            raise ScoringStopped

    try:
        sample = evenly_spaced([row for row in _unseen_rows(request, split) if "check" in row.extra], _SAMPLE)
        if not sample:
            return None
        with contextlib.closing(
            CodeGenerator(
                checkpoint.model,
                checkpoint.tokenizer,
                RetrievalIndex(split.training),
                model_id="challenger",
                slots=_SLOTS,
                backend=_BACKEND,
            )
        ) as generator:
            return evaluate(generator, sample, workers=1, on_progress=check_stop).summary()
    except LeaseLost:
        raise
    except (TinyGPTError, OSError) as error:
        log.warning("the model was not scored", reason=str(error))
        return None


def _unseen_rows(request: TrainRequest, split: Split) -> Sequence[Row]:
    """The bundled dataset has its own held-out rows, which differ by more than the prompt."""
    return read_rows(held_out_rows()) if request.dataset == DEFAULT_DATASET else split.held_out
