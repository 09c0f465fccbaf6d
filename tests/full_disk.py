"""A disk with hardly any room left, made real by the kernel's limit on the size of a file."""

import contextlib
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def full_disk(*, room: int) -> Iterator[None]:
    """No file grows beyond `room` bytes: a write that would is refused with EFBIG (Python ignores SIGXFSZ)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
