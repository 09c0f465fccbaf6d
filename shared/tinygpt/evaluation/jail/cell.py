"""Shuts the calling process in, layer by layer. This can't be undone: it is for a child that then runs one check."""

import os
import sys
import sysconfig
from collections.abc import Mapping

from tinygpt.evaluation.jail import audit, identity, kernel, landlock, rlimits, seccomp

LAYERS = ("nobody", "namespaces", "rlimits", "landlock", "seccomp", "audit")
RESULT = 3
"""The descriptor to which a child writes its outcome, after the three standard ones."""


def readable_paths() -> list[str]:
    """The interpreter's own files, and the time zones."""
    libraries = sorted({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
    return [*libraries, "/usr/share/zoneinfo", "/etc/localtime"]


class Cell:
    """The layers that this machine has. The helper prepares them once, and closes them around each of its children.

    `without` leaves layers out, so that tests can show what the others stop by themselves.
    """

    def __init__(self, without: frozenset[str] = frozenset()) -> None:
        self._helper = os.getpid()
        self._readable = readable_paths()
        self.nobody = "nobody" not in without and identity.can_become_nobody()
        self._rlimits = "rlimits" not in without
        self._audit = "audit" not in without
        self._border = landlock.Border(self._readable) if "landlock" not in without and landlock.abi() > 0 else None
        self._filter = seccomp.program() if "seccomp" not in without and seccomp.supported() else None
        self._namespaces = "namespaces" not in without and sys.platform == "linux" and _leave_network()

    def layers(self) -> list[str]:
        """The layers in force, in the order of `LAYERS`."""
        in_force = {
            "nobody": self.nobody,
            "namespaces": self._namespaces,
            "rlimits": self._rlimits,
            "landlock": self._border is not None,
            "seccomp": self._filter is not None,
            "audit": self._audit,
        }
        return [layer for layer in LAYERS if in_force[layer]]

    def close(self, folder: str, output: int, result: int, limits: Mapping[str, float]) -> None:
        """Shut this process in: its own session, `folder` to work in, three descriptors and `RESULT`, every layer.

        Raises `OSError` if a layer can't be closed. Then nothing may be run.
        """
        os.dup2(result, RESULT)  # first, so that a failure below can be reported
        os.setsid()
        os.umask(0o077)
        os.chdir(folder)
        if sys.platform == "linux":
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        if self._border:
            self._border.close_around(folder)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(RESULT + 1, os.sysconf("SC_OPEN_MAX"))
        if self._rlimits:
            rlimits.limit(limits)
        if self.nobody:
            identity.become_nobody()
        if sys.platform == "linux":
            # After the change of user, which resets both.
            kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)
            if os.getppid() != self._helper:  # the helper died before this line
                os._exit(1)
            kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        if self._filter:
            seccomp.install(self._filter)
        for name in [name for name in sys.modules if name.partition(".")[0] in audit.FORBIDDEN_MODULES]:
            del sys.modules[name]
        if self._audit:
            audit.guard(folder, self._readable)


def _leave_network() -> bool:
    try:
        kernel.unshare(kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC)
    except OSError:
        return False
    return True
