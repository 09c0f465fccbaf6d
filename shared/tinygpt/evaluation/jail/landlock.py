"""Landlock: code may read the interpreter and its standard library, write the working folder, and open nothing else.

Newer kernels also refuse TCP (ABI 4, Linux 6.7) and signals and abstract sockets across the border (ABI 6, Linux 6.12).
Landlock does not see `stat`, nor changes of mode, owner or times. The seccomp filter handles those changes. Needs no
privileges.
"""

import ctypes
import os
import sys
from collections.abc import Sequence

from tinygpt.evaluation.jail import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_DIR, _MAKE_REG, _MAKE_FIFO, _MAKE_SYM = 1 << 7, 1 << 8, 1 << 10, 1 << 12
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_HANDLED_SINCE_ABI = {1: (1 << 13) - 1, 2: _REFER, 3: _TRUNCATE, 5: 1 << 15}
_IN_WORKING_FOLDER = (
    _WRITE_FILE | _READ_FILE | _READ_DIR | _REMOVE_DIR | _REMOVE_FILE
    | _MAKE_DIR | _MAKE_REG | _MAKE_FIFO | _MAKE_SYM | _REFER | _TRUNCATE
)  # fmt: skip
_ALL_TCP = 0b11
_ALL_SCOPES = 0b11

_DEVICES = {"/dev/null": _READ_FILE | _WRITE_FILE, "/dev/zero": _READ_FILE, "/dev/urandom": _READ_FILE}


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """The version of Landlock in this kernel, 0 if it has none."""
    if sys.platform != "linux":
        return 0
    try:
        return kernel.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    except OSError:
        return 0


class Border:
    """What may be opened, apart from the working folder. Its descriptors are opened once, in the helper."""

    def __init__(self, readable: Sequence[str]) -> None:
        self._abi = abi()
        self._handled = 0
        for since, rights in _HANDLED_SINCE_ABI.items():
            self._handled |= rights if self._abi >= since else 0
        self._openings: list[tuple[int, int]] = []
        for path in readable:
            rights = _READ_FILE | _READ_DIR if os.path.isdir(path) else _READ_FILE  # noqa: PTH112
            self._open(path, rights)
        for path, rights in _DEVICES.items():
            self._open(path, rights)

    def _open(self, path: str, rights: int) -> None:
        if os.path.exists(path):  # noqa: PTH110
            self._openings.append((os.open(path, os.O_PATH | os.O_CLOEXEC), rights))

    def close_around(self, folder: str) -> None:
        """Shut the calling process in. This can't be undone. Needs `no_new_privs`. Raises `OSError`."""
        attributes = _RulesetAttributes(
            self._handled, _ALL_TCP if self._abi >= 4 else 0, _ALL_SCOPES if self._abi >= 6 else 0
        )
        size = 24 if self._abi >= 6 else 16 if self._abi >= 4 else 8
        ruleset = kernel.syscall(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0))
        inside = os.open(folder, os.O_PATH | os.O_CLOEXEC)
        for descriptor, rights in [*self._openings, (inside, _IN_WORKING_FOLDER)]:
            rule = _PathBeneath(rights & self._handled, descriptor)
            kernel.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0))
        kernel.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0))
        os.close(inside)
        os.close(ruleset)
