"""Functions that numba compiles for this machine's processor, and where the machine code is kept between starts.

`@kernel` marks what Python calls: its machine code is kept on disk. `@jit`, `@part` and `@inlined` mark what kernels
are made of. Without numba all leave the function as it is: slow, the same result.
"""

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, TypeVar

import structlog

try:
    import numba.extending
    from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserWideCacheLocator
except ImportError:  # no build of it for this Python or processor
    numba = None

P = ParamSpec("P")
R = TypeVar("R")
log = structlog.get_logger()
_FOR_KERNELS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""What Python can't call takes half as long to compile."""


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` for the kernels that call it, and leave it to Python as it is."""
    if numba:
        numba.extending.register_jitable(nogil=True, error_model="numpy", **_FOR_KERNELS)(function)
    return function


def part(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function`, which makes no arrays, for the kernels that call it. It counts no references to arrays, which
    costs more than the arithmetic between."""
    return _compiled(function, _nrt=False, **_FOR_KERNELS)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` as lines of whatever calls it: for what is called once and passes much on."""
    return _compiled(function, inline="always")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function`, once for every combination of argument types; it runs without the interpreter's lock."""
    return _kept(function, _compiled(function, no_cfunc_wrapper=True))


def kernel_of_parts(function: Callable[P, R]) -> Callable[P, R]:
    """A kernel that makes no arrays, as its parts."""
    return _kept(function, _compiled(function, no_cfunc_wrapper=True, _nrt=False))


def _kept(function: Callable[P, R], compiled: Any) -> Callable[P, R]:
    """`compiled`, its machine code read from disk or written there."""
    if numba and cache_folder() is not None:
        compiled._cache = _KernelCache(function)
    kept: Callable[P, R] = compiled
    return kept


def _compiled(function: Callable[P, R], **options: Any) -> Callable[P, R]:
    if not numba:
        return function
    compiled: Callable[P, R] = numba.njit(nogil=True, error_model="numpy", **options)(function)
    return compiled


@cache
def cache_folder() -> Path | None:
    """Where machine code is kept: `NUMBA_CACHE_DIR`, or `tinygpt` in the user's cache folder. None where that can be
    neither read nor written, or belongs to somebody else: what lies there is run."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    try:
        parent = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = parent / "tinygpt"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        usable = os.access(folder, os.R_OK | os.X_OK) and _is_own(folder)
    except (OSError, RuntimeError):  # read-only, or a user without a home
        return None
    return folder if usable else None


def _is_own(folder: Path) -> bool:
    return not hasattr(os, "getuid") or folder.stat().st_uid in (0, os.getuid())


@cache
def _sources_hash() -> bytes:
    """Of every file that a kernel may be made of, since parts of one file are compiled into kernels of another."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).digest()


if numba:

    class _Locator(UserWideCacheLocator):  # type: ignore[misc]
        def __init__(self, function: Callable[..., Any], file: str) -> None:
            super().__init__(function, file)
            self._cache_path = str(cache_folder())

        def get_source_stamp(self) -> bytes:
            return _sources_hash()

        def ensure_cache_path(self) -> None:
            """It is there already; if it can't be written to, it can still be read."""

    class _CacheContent(CompileResultCacheImpl):  # type: ignore[misc]
        _locator_classes: ClassVar = [_Locator]

    class _KernelCache(FunctionCache):  # type: ignore[misc]
        """numba's, but that a file which can't be read or written costs a compilation, not the answer."""

        _impl_class = _CacheContent

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            try:
                return super().load_overload(sig, target_context)
            except Exception as error:  # noqa: BLE001 - unpickling damaged bytes may raise anything
                log.warning("kernel_cache_unreadable", folder=self.cache_path, error=repr(error))
                return None

        def save_overload(self, sig: Any, data: Any) -> None:
            try:
                super().save_overload(sig, data)
            except Exception as error:  # noqa: BLE001 - nor may a damaged index keep it from being used
                log.warning("kernel_cache_not_written", folder=self.cache_path, error=repr(error))
