"""Promotion: whether a new model (the challenger) replaces the served one, by its held-out rows."""

from collections.abc import Callable, Sequence
from typing import Literal

import structlog

from tinygpt.contracts.errors import InvalidCheckpoint, NotFound
from tinygpt.contracts.models import BEST_CHECKPOINT, CurrentModel
from tinygpt.contracts.runs import Promotion
from tinygpt.data.examples import encode_examples
from tinygpt.data.rows import Row
from tinygpt.model.checkpoint import Checkpoint, load_checkpoint
from tinygpt.runtime.volume import Volume
from tinygpt.training.loss import bits_per_character, validation_loss

log = structlog.get_logger()


def decide_promotion(
    volume: Volume,
    run_id: str,
    challenger: Checkpoint,
    held_out: Sequence[Row],
    mode: Literal["auto", "always", "never"],
    poll: Callable[[], object],
) -> Promotion:
    """Decide by `mode`. `auto` promotes the model with fewer bits per character of code; at a tie, nothing changes.

    That measure does not depend on the tokenizer. Both are scored on the rows that fit both contexts. Calls `poll`
    between batches. If the worker was lost after the promotion, the run is judged again, so `run_id` may be served.
    """
    if mode == "never":
        return Promotion(promoted=False, reason="the request says never")
    if mode == "always":
        return Promotion(promoted=True, reason="the request says always")
    current = volume.current()
    if current is not None and current.run_id == run_id:
        return Promotion(promoted=True, reason="it is already served")
    served = _loaded(volume, current)
    if served is None:
        return Promotion(promoted=True, reason="no other model is served")
    rows = [row for row in held_out if _fits(row, challenger) and _fits(row, served)]
    if not rows:
        return Promotion(promoted=True, reason="no held-out row fits the context of the model served now")
    new, old = (_score(checkpoint, rows, poll) for checkpoint in (challenger, served))
    better = new < old
    return Promotion(
        promoted=better,
        reason=f"{new:.4f} bits per character against {old:.4f} of the model served",
        bits_per_character=new,
        served_bits_per_character=old,
    )


def _loaded(volume: Volume, current: CurrentModel | None) -> Checkpoint | None:
    if current is None:
        return None
    try:
        return load_checkpoint(volume.run(current.run_id) / BEST_CHECKPOINT, sha256=current.sha256)
    except (InvalidCheckpoint, NotFound) as error:
        log.warning("the model served can't be loaded, so the new one replaces it", reason=str(error))
        return None


def _fits(row: Row, checkpoint: Checkpoint) -> bool:
    tokens, _ = checkpoint.tokenizer.encode_supervised(row.prompt, row.code)
    return len(tokens) <= checkpoint.model.config.context_length


def _score(checkpoint: Checkpoint, rows: Sequence[Row], poll: Callable[[], object]) -> float:
    examples = encode_examples(rows, checkpoint.tokenizer, checkpoint.model.config.context_length)
    return bits_per_character(validation_loss(checkpoint.model, examples, poll))
