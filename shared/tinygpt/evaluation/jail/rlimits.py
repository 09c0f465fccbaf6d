"""The resource limits of every Unix. They hold for the process that sets them, which can't raise them again."""

import resource
import sys
from collections.abc import Mapping

SOFT_TO_HARD_CPU_SECONDS = 1


def limit(limits: Mapping[str, float]) -> None:
    """Set the limits of `Limits`, and allow no processes, threads, core dumps, locked memory or message queues.

    macOS accepts the limit on memory but does not enforce it.
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
