"""One check, run in the cell. Its outcome is the nonce if the check passed, otherwise the reason why it failed.

The nonce is a local variable of a frame below the check's frame, and nowhere else in the interpreter. The audit hook
guards frames.
"""

import ast
import builtins
import os
import sys
from types import ModuleType
from typing import Any, NoReturn

from tinygpt.evaluation.jail.answer import check_functions

MAX_REASON_LENGTH = 400
CHANGED = "the answer replaced {}, which the check relies on"


def run(code: str, check: str, nonce: bytes, result: int) -> NoReturn:
    """Run the check and leave the process, whatever happens."""
    write, leave = os.write, os._exit
    try:
        reason = _why_failed(code, check)
    except BaseException:  # noqa: BLE001 - the answer may have left anything to be raised
        reason = "the check was broken off"
    try:
        write(result, nonce if reason is None else reason.encode(errors="replace")[:MAX_REASON_LENGTH])
    finally:
        leave(0)


def _why_failed(code: str, check: str) -> str | None:
    """None if the check passes."""
    try:
        tree = ast.parse(check)
        compiled = compile(tree, "<check>", "exec")
    except (SyntaxError, ValueError) as error:
        return f"the check is not Python: {error}"
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    namespace = vars(module)
    namespace["code"] = code
    namespace |= check_functions(namespace)
    own_builtins = dict(vars(builtins))
    if "builtins" not in _imported(tree):
        namespace["__builtins__"] = own_builtins
    before = _callables(tree, own_builtins)
    try:
        exec(compiled, namespace)
    except BaseException as error:  # noqa: BLE001 - SystemExit too: to pass, a check must reach its end
        return _described(error, check)
    if "builtins" not in _imported(tree) and namespace.get("__builtins__") is not own_builtins:
        return CHANGED.format("__builtins__")
    for owner, name, value in before:
        if owner.get(name) is not value:
            return CHANGED.format(name)
    return None


def _imported(tree: ast.AST) -> set[str]:
    """The modules that the check names in its imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def _callables(tree: ast.AST, own_builtins: dict[str, Any]) -> list[tuple[dict[str, Any], str, Any]]:
    """The functions and classes that the check relies on: the builtins, its own copy of them, and those of the modules
    that it imports.

    Names that the check assigns itself are left out, because a check may replace `time.sleep`.
    """
    assigned = {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    modules = [builtins, *(sys.modules[name] for name in _imported(tree) if name in sys.modules)]
    return [
        (names, name, value)
        for names in (own_builtins, *map(vars, modules))
        for name, value in list(names.items())
        if callable(value) and name not in assigned
    ]


def _described(error: BaseException, check: str) -> str:
    """The error, and the line of the check that raised it."""
    name = type.__getattribute__(type(error), "__name__")
    try:
        message = str(error)[:MAX_REASON_LENGTH]
    except BaseException:  # noqa: BLE001 - the answer may have made the error
        message = ""
    text = f"{name}: {message}" if message else str(name)
    place = error.__traceback__.tb_next if error.__traceback__ else None
    lines = check.splitlines()
    if place is not None and 1 <= place.tb_lineno <= len(lines):
        text += f" (in the check: {lines[place.tb_lineno - 1].strip()})"
    return text
