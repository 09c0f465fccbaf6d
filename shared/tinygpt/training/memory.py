"""Running out of memory, as one error that says what to do."""

import contextlib
from collections.abc import Iterator

import torch

from tinygpt.contracts.errors import TrainingFailed

_TEXTS = ("not enough memory", "can't allocate memory", "std::bad_alloc", "could not create a memory object")
"""In the `RuntimeError`s of torch's allocator, of C++ and of oneDNN."""
_OUT_OF_MEMORY = "Memory ran out: train with a smaller batch_size or context_length, or a smaller model."


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Raise `TrainingFailed` if memory runs out in the block, whichever error torch raises for it."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise TrainingFailed(_OUT_OF_MEMORY) from error
    except RuntimeError as error:
        if any(text in str(error) for text in _TEXTS):
            raise TrainingFailed(_OUT_OF_MEMORY) from error
        raise
