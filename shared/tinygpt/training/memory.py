"""Running out of memory, as one error that says what to do."""

import contextlib
from collections.abc import Iterator

import torch

from tinygpt.contracts.errors import TrainingFailed


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Raise `TrainingFailed` when memory runs out, in whichever way torch tells it."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise TrainingFailed(_OUT_OF_MEMORY) from error
    except RuntimeError as error:
        if "not enough memory" in str(error) or "can't allocate memory" in str(error):
            raise TrainingFailed(_OUT_OF_MEMORY) from error
        raise


_OUT_OF_MEMORY = "Memory ran out: train with a smaller batch_size or context_length, or a smaller model."
