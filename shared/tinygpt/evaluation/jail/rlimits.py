"""The limits that every Unix has. They bind the process that sets them and can't be raised again."""

import resource
import sys
from collections.abc import Mapping

SOFT_TO_HARD_CPU_SECONDS = 1


def limit(limits: Mapping[str, float]) -> None:
    """Set what `Limits` says. No processes or threads, no core dumps, no locked memory, no message queues.

    macOS takes the limit on memory and does not enforce it.
    """
    cpu = int(limits["cpu_seconds"])
    wanted = {
        resource.RLIMIT_FSIZE: int(limits["file_bytes"]),
        resource.RLIMIT_AS: int(limits["memory_bytes"]),
        resource.RLIMIT_NOFILE: int(limits["open_files"]),
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    if sys.platform == "linux":
        wanted[resource.RLIMIT_MSGQUEUE] = 0
    for kind, value in wanted.items():
        _lower(kind, value, value)
    _lower(resource.RLIMIT_CPU, cpu, cpu + SOFT_TO_HARD_CPU_SECONDS)


def _lower(kind: int, soft: int, hard: int) -> None:
    _, ceiling = resource.getrlimit(kind)
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(kind, (soft, hard))
