"""The number of cores that this process may use."""

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(quota: Path = _QUOTA) -> int:
    """The cores of its affinity (`taskset`, cpusets), but no more than the CPU quota of its container.

    `quota` is cgroup v2's file: microseconds of CPU time, and the period in microseconds.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if allowed == "max" else max(1, min(cores, int(allowed) // int(period)))
