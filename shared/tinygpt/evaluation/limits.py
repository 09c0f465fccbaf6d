"""Limits on one run of generated code."""

from dataclasses import dataclass

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Sizes are in bytes, times in seconds.

    `folder_bytes` and `folder_entries` limit the working folder as a whole. They are checked a few times a second, so a
    run can exceed them for a moment before it is killed.
    """

    cpu_seconds: int = 2
    wall_seconds: float = 10.0
    memory_bytes: int = 512 * MEGABYTE
    file_bytes: int = 4 * MEGABYTE
    folder_bytes: int = 16 * MEGABYTE
    folder_entries: int = 500
    open_files: int = 32
    output_bytes: int = MEGABYTE
