"""The cache of machine code between starts: a folder for each version of the sources.

What lies there is run, so it is taken only from a folder that nobody else can write to. numba decides the format of the
files, and checks that they are for this processor, Python and numba.
"""

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import structlog
from numba.core.caching import CompileResultCacheImpl, FunctionCache, NullCache, UserWideCacheLocator

log = structlog.get_logger()
_PACKAGE = Path(__file__).parents[1]
SOURCES = (
    *sorted(path.relative_to(_PACKAGE).as_posix() for path in Path(__file__).parent.glob("*.py")),
    "data/tokenizer.py",
    "inference/attention_kernels.py",
    "inference/balance.py",
    "inference/compiled_decoder.py",
    "inference/decoding_kernels.py",
    "inference/linear_kernels.py",
    "inference/packed_weights.py",
    "inference/sampling.py",
    "model/table_kernels.py",
    "model/training_kernels.py",
)
"""What kernels are made of: files with compiled functions, and files whose constants and types those use. They share a
hash, because parts of one file are compiled into kernels of another."""
_OLDER_KEPT = 3
"""Other versions that are kept: for other checkouts, or to go back to."""


def cache_of(function: Callable[..., Any]) -> Any:
    """numba's cache for the machine code of `function`; one that keeps nothing, and logs why, if there is no folder."""
    try:
        return _KernelCache(function)
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home, a function without a file
        return _NotKept(repr(error))


@cache
def cache_folder() -> Path:
    """The folder of these sources, in `NUMBA_CACHE_DIR/tinygpt`, or else `tinygpt` in the user's cache folder.

    Raises `OSError` if it can't be made or others could write to it, `RuntimeError` for a user without a home.
    """
    named = os.environ.get("NUMBA_CACHE_DIR")
    parent = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = parent / "tinygpt" / f"kernels-{_sources_hash()[:16]}"
    for one in (folder.parent, folder):
        one.mkdir(parents=True, exist_ok=True, mode=0o700)
        _refuse_what_others_write(one)
    _remove_older(folder)
    return folder


def _refuse_what_others_write(folder: Path) -> None:
    if not hasattr(os, "getuid"):  # Windows
        return
    status = folder.stat()
    if status.st_uid not in (0, os.getuid()):
        raise PermissionError(f"{folder} belongs to somebody else")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"others may write to {folder}")


def _remove_older(folder: Path) -> None:
    """Keep `_OLDER_KEPT` of them. A process that still uses a removed one compiles again, no more."""
    with contextlib.suppress(OSError):  # another process removes them too
        others = [other for other in folder.parent.glob("kernels-*") if other != folder]
        for stale in sorted(others, key=lambda other: other.stat().st_mtime, reverse=True)[_OLDER_KEPT:]:
            shutil.rmtree(stale, ignore_errors=True)


@cache
def _sources_hash() -> str:
    return hashlib.sha256(b"\0".join((_PACKAGE / source).read_bytes() for source in SOURCES)).hexdigest()


class _Locator(UserWideCacheLocator):  # type: ignore[misc]
    def __init__(self, function: Callable[..., Any], file: str) -> None:
        super().__init__(function, file)
        self._cache_path = str(cache_folder())

    def get_source_stamp(self) -> str:
        return _sources_hash()

    def ensure_cache_path(self) -> None:
        """It exists already. If it can't be written to, it can still be read."""


class _CacheContent(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes: ClassVar = [_Locator]


class _KernelCache(FunctionCache):  # type: ignore[misc]
    """numba's, except that a file which can't be read or written costs a compilation, not the answer."""

    _impl_class = _CacheContent

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # noqa: BLE001 - unpickling damaged bytes may raise anything
            log.warning("kernel_cache_unreadable", folder=self.cache_path, error=repr(error))
            with contextlib.suppress(OSError):
                self.flush()  # else a damaged index would stay one
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:  # noqa: BLE001 - nor may a damaged index keep it from being used
            log.warning("kernel_cache_not_written", folder=self.cache_path, error=repr(error))


class _NotKept(NullCache):  # type: ignore[misc]
    def __init__(self, reason: str) -> None:
        self._reason = reason

    def save_overload(self, *_: Any) -> None:
        _say_not_kept(self._reason)


@cache
def _say_not_kept(reason: str) -> None:
    """Log it once, when something was compiled."""
    log.warning("kernel_cache_unusable", error=reason)
