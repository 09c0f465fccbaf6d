"""Functions that numba compiles for this machine's processor.

`@kernel` and `@kernel_of_parts` mark what Python calls: its machine code is kept on disk (`cache.py`). `@jit`, `@part`,
`@inlined` and `@by_types` mark what kernels are made of. Where numba can't be had, `@kernel` and `@jit` leave functions
as they are: slow, the same result.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, ParamSpec, TypeVar

import structlog

P = ParamSpec("P")
R = TypeVar("R")
log = structlog.get_logger()
OBSTACLE: str | None = None
"""Why nothing can be compiled here; None if it can."""
_FOR_KERNELS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""What Python can't call takes half as long to compile."""

try:
    import numba.extending

    from tinygpt.compiled.cache import cache_of

    numba.njit("float32(float32)")(lambda x: x + x)
    if numba.config.DISABLE_JIT:
        OBSTACLE = "NUMBA_DISABLE_JIT is set"
except Exception as error:  # noqa: BLE001 - no build of it for this Python, a broken one, a processor that LLVM doesn't know
    OBSTACLE = f"numba can't be used: {error!r}"


@cache
def can_compile() -> bool:
    """True if kernels are compiled. If not, one line in the log says why."""
    if OBSTACLE:
        log.warning("kernels are not compiled", reason=OBSTACLE)
    return not OBSTACLE


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` for the kernels that call it, and leave it to Python as it is."""
    if not OBSTACLE:
        numba.extending.register_jitable(nogil=True, error_model="numpy", **_FOR_KERNELS)(function)
    return function


def part(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function`, which must make no arrays, for the kernels that call it.

    It does not count references to arrays, because that costs more than the arithmetic in between.
    """
    return _compiled(function, _nrt=False, **_FOR_KERNELS)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` into each caller, with the caller's options: for what is called from one place, or in an inner
    loop where a call would cost too much."""
    return _compiled(function, inline="always")


def by_types(choose: Callable[..., Any]) -> Callable[..., Any]:
    """Let kernels call, by one name, the part that `choose` returns for the types of the arguments."""

    def by_type(*_: Any) -> Any:
        raise NotImplementedError("only a kernel can call it")

    def chosen(*arguments: Any) -> Any:
        return choose(*arguments).py_func

    if not OBSTACLE:
        options = {"nogil": True, "error_model": "numpy", "_nrt": False}
        numba.extending.overload(by_type, jit_options=options, strict=False)(chosen)
    return by_type


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` once for every combination of argument types. It runs without the interpreter's lock."""
    return _kept(function)


def kernel_of_parts(function: Callable[P, R]) -> Callable[P, R]:
    """A kernel that makes no arrays, like its parts."""
    return _kept(function, _nrt=False)


def _kept(function: Callable[P, R], **options: Any) -> Callable[P, R]:
    """`function` compiled. Its machine code is read from disk, or written there."""
    compiled: Any = _compiled(function, no_cfunc_wrapper=True, **options)
    if not OBSTACLE:
        compiled._cache = cache_of(function)
    kept: Callable[P, R] = compiled
    return kept


def _compiled(function: Callable[P, R], **options: Any) -> Callable[P, R]:
    if OBSTACLE:
        return function
    compiled: Callable[P, R] = numba.njit(nogil=True, error_model="numpy", **options)(function)
    return compiled
