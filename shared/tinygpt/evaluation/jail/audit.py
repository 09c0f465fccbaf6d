"""A veto inside the interpreter (`sys.addaudithook`), for what the kernel's layers can't see or don't have.

It refuses frames, the garbage collector's lists, tracing, ctypes and subinterpreters, so that code can't search for the
runner's nonce. It also refuses files outside the working folder, as Landlock does if the kernel has it. It is Python
that guards Python: code with native access to memory gets past it.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

_REFUSED_EVENTS = """
os.fork os.forkpty os.exec os.posix_spawn os.system os.spawn os.startfile os.kill os.killpg signal.pthread_kill
pty.spawn gc.get_objects gc.get_referrers gc.get_referents sys.settrace sys.setprofile sys.addaudithook
sys._getframe sys._getframemodulename sys._current_frames sys._current_exceptions code.__new__ resource.setrlimit
resource.prlimit sqlite3.connect sqlite3.enable_load_extension sqlite3.load_extension _thread.start_new_thread
"""
_REFUSED = frozenset(_REFUSED_EVENTS.split())
_REFUSED_GROUPS = frozenset({"socket", "subprocess", "ctypes", "cpython", "syslog", "urllib", "http", "ftplib"})
_FRAMES = frozenset({"tb_frame", "gi_frame", "cr_frame", "ag_frame"})
_FORBIDDEN_NAMES = """
ctypes _ctypes gc signal _signal _xxsubinterpreters _interpreters _testcapi _testinternalcapi tinygpt
"""
FORBIDDEN_MODULES = frozenset(_FORBIDDEN_NAMES.split())
_PATHS_IN = {
    "os.remove": (0,), "os.rename": (0, 1), "os.mkdir": (0,), "os.rmdir": (0,), "os.link": (0, 1), "os.symlink": (1,),
    "os.truncate": (0,), "os.chmod": (0,), "os.chown": (0,), "os.utime": (0,), "os.setxattr": (0,),
    "os.removexattr": (0,), "os.chflags": (0,),
}  # fmt: skip
_PATHS_READ_IN = frozenset({"os.listdir", "os.scandir", "os.chdir"})
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")


class Refused(PermissionError, ValueError):
    """Also a `ValueError`, because the standard library expects one if there is no frame (`namedtuple`)."""


def guard(folder: str, readable: Sequence[str]) -> None:
    """Install the veto in this interpreter. It can't be removed."""
    sys.addaudithook(_hook(os.path.realpath(folder), tuple(map(os.path.realpath, readable))))


def _hook(folder: str, readable: tuple[str, ...]) -> Callable[[str, tuple[Any, ...]], None]:
    # Everything the hook calls is bound here, so that changing a module's attributes does not change the hook.
    realpath, fspath, fsdecode, refused = os.path.realpath, os.fspath, os.fsdecode, Refused
    inside_prefix = folder.rstrip("/") + "/"
    read_prefixes = tuple(path.rstrip("/") + "/" for path in readable)
    paths_in, paths_read_in, frames, modules = _PATHS_IN, _PATHS_READ_IN, _FRAMES, FORBIDDEN_MODULES
    refused_events, refused_groups, writing, devices = _REFUSED, _REFUSED_GROUPS, _WRITING, _DEVICES

    def require(path: Any, to_write: bool) -> None:
        if path is None or isinstance(path, int):
            return
        where = realpath(fsdecode(fspath(path)))
        if where == folder or where.startswith(inside_prefix) or where in devices:
            return
        if to_write or not (where in readable or where.startswith(read_prefixes)):
            raise refused(f"{'writing' if to_write else 'reading'} outside the working folder is not allowed: {where}")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "object.__getattr__":
            if arguments[1] in frames:
                raise refused(f"{arguments[1]} is not for generated code")
        elif event == "import":
            if not modules.isdisjoint(arguments[0].split(".")):
                raise refused(f"the module {arguments[0]} is not for generated code")
        elif event in refused_events or event.partition(".")[0] in refused_groups:
            raise refused(f"{event} is not for generated code")
        elif event == "open":
            require(arguments[0], bool(arguments[2] & writing))
        elif event in paths_read_in:
            require(arguments[0], False)
        elif event in paths_in:
            for position in paths_in[event]:
                require(arguments[position], True)

    return hook
