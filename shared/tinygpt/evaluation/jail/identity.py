"""The user that generated code runs as: an unprivileged one, if the helper is root."""

import os
import sys
from pathlib import Path

UNPRIVILEGED_ID = 65533
"""Below 65536, so that it exists in user namespaces too. Not the id of `nobody`, which other programs share."""

_CHOWN, _DAC_OVERRIDE, _FOWNER, _KILL, _SETGID, _SETUID = 0, 1, 3, 5, 6, 7


def can_become_nobody() -> bool:
    """True if this process is root and has the capabilities to change its user and to clean up after it."""
    if os.geteuid() != 0:
        return False
    if sys.platform != "linux":
        return True
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            held = int(value, 16)
            return all(held >> right & 1 for right in (_CHOWN, _DAC_OVERRIDE, _FOWNER, _KILL, _SETGID, _SETUID))
    return False


def become_nobody() -> None:
    """Give up root and every capability. This can't be undone. Raises `OSError`."""
    os.setgroups([])
    os.setresgid(UNPRIVILEGED_ID, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
    os.setresuid(UNPRIVILEGED_ID, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
