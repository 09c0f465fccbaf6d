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
        if any(text in str(error) for text in _TOLD_AS):
            raise TrainingFailed(_OUT_OF_MEMORY) from error
        raise


_TOLD_AS = ("not enough memory", "can't allocate memory", "std::bad_alloc", "could not create a memory object")
"""Torch's allocator, C++'s, oneDNN's."""
_OUT_OF_MEMORY = "Memory ran out: train with a smaller batch_size or context_length, or a smaller model."
