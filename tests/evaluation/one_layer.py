"""A sandbox with one layer of the jail, and why code fails in it.

The modules that attacks need are loaded by the helper, so that an import which fails can't stand in for a layer.
"""

import ctypes
import os
import platform
from functools import cache

import pytest

from tinygpt.evaluation.jail.cell import LAYERS
from tinygpt.evaluation.limits import Limits
from tinygpt.evaluation.sandbox import Sandbox

RUN = "exec(code)"
QUICK = Limits(cpu_seconds=1, wall_seconds=5.0)
NEEDED = ("socket", "resource", "subprocess", "mmap", "fcntl")


@cache
def _alone(layer: str) -> Sandbox:
    return Sandbox(workers=1, modules=NEEDED, without=frozenset(LAYERS) - {layer}, limits=QUICK)


def close_all() -> None:
    """End the sandboxes that `alone` has made."""
    for layer in [*LAYERS, "none"]:
        _alone(layer).close()
    _alone.cache_clear()


def alone(layer: str) -> Sandbox:
    """A sandbox with this layer and no other. Skips if the machine does not have it."""
    sandbox = _alone(layer)
    in_force = sandbox.layers()
    if not in_force and not machine_has(layer):
        pytest.skip(f"this machine has no {layer}")
    assert in_force == ([layer] if layer != "none" else [])
    return sandbox


def machine_has(layer: str) -> bool:
    """What the machine can do, found out without the jail's own code."""
    libc = ctypes.CDLL(None, use_errno=True)
    match layer:
        case "nobody":
            return os.geteuid() == 0
        case "namespaces":
            child = os.fork()
            if child == 0:
                os._exit(0 if libc.unshare(0x48000000) == 0 else 1)
            return os.waitpid(child, 0)[1] == 0
        case "landlock":
            return bool(libc.syscall(444, None, 0, 1) > 0)
        case "seccomp":
            return platform.machine() in ("x86_64", "aarch64")
        case _:
            return True


def reason_of(layer: str, code: str, limits: Limits = QUICK) -> str:
    """Why the code failed; it must have."""
    verdict = alone(layer).run(code, RUN, limits)
    assert not verdict.passed
    return verdict.reason


def passes(layer: str, code: str) -> None:
    """Run code that must come to its end, with its own assertions."""
    verdict = alone(layer).run(code, RUN)
    assert verdict.passed, verdict.reason
