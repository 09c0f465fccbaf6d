"""One check, run in the cell. What is told is the nonce, if the check came to its end, else why it did not.

The nonce is a local variable of a frame below the check's, and nowhere else in the interpreter's reach: frames are what
the audit hook guards.
"""

import ast
import builtins
import os
import sys
from types import ModuleType
from typing import Any, NoReturn

from tinygpt.evaluation.jail.answer import check_functions

MOST_OF_A_REASON = 400
CHANGED = "the answer replaced {}, which the check relies on"


def run(code: str, check: str, nonce: bytes, result: int) -> NoReturn:
    """Run the check and leave the process, whatever happens."""
    write, leave = os.write, os._exit
    try:
        reason = _why_failed(code, check)
    except BaseException:  # noqa: BLE001 - whatever the answer left behind to be raised
        reason = "the check was broken off"
    try:
        write(result, nonce if reason is None else reason.encode(errors="replace")[:MOST_OF_A_REASON])
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
    except BaseException as error:  # noqa: BLE001 - SystemExit too: only coming to the end is passing
        return _told(error, check)
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
    """The functions and classes that the check relies on: the builtins, its own copy of them too, and those of the
    modules it imports.

    Not those whose name it assigns itself, as a check does that puts another `time.sleep` in place.
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


def _told(error: BaseException, check: str) -> str:
    """The error, and the line of the check that it came out of."""
    name = type.__getattribute__(type(error), "__name__")
    try:
        message = str(error)[:MOST_OF_A_REASON]
    except BaseException:  # noqa: BLE001 - the error is of the answer's making
        message = ""
    text = f"{name}: {message}" if message else str(name)
    place = error.__traceback__.tb_next if error.__traceback__ else None
    lines = check.splitlines()
    if place is not None and 1 <= place.tb_lineno <= len(lines):
        text += f" (in the check: {lines[place.tb_lineno - 1].strip()})"
    return text
