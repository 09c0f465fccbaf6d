"""Repair of generated code until `ast.parse` accepts it. The code is never run."""

import ast
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache

_CLOSERS = {"(": ")", "[": "]", "{": "}"}
_MAX_LINES_CUT = 200


@dataclass(frozen=True)
class PostProcessed:
    """`code` parses, or is empty if nothing of the text could be saved."""

    code: str
    repaired: bool


@lru_cache(maxsize=64)
def parses(code: str) -> bool:
    """True if `code` is complete Python with at least one statement. False if Python can't tell, as when it is nested
    too deep. Cached, because an answer is checked more than once."""
    tree = tree_of(code)
    return tree is not None and bool(tree.body)


def tree_of(code: str) -> ast.Module | None:
    """The syntax tree of `code`, or None if it does not parse."""
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):  # SystemError: a parse within a parse
        return None


def ignore_syntax_warnings() -> None:
    """Ignore warnings about odd but valid syntax in generated code (`1if x else 2`), which would fill the log. Applies
    to the whole process, but only to code that comes from no file."""
    warnings.filterwarnings("ignore", category=SyntaxWarning, module=re.escape("<unknown>"))
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=re.escape("<unknown>"))


def post_process_code(text: str) -> PostProcessed:
    """Close the brackets and quotes that `text` leaves open, or cut it back to its last complete statement."""
    code = text.strip("\n").rstrip()
    if parses(code):
        return PostProcessed(code, repaired=code != text)
    lines = code.split("\n")
    for kept in range(len(lines), max(0, len(lines) - _MAX_LINES_CUT), -1):
        candidate = "\n".join(lines[:kept]).rstrip()
        for attempt in (candidate, candidate + closers(candidate)):
            if parses(attempt):
                return PostProcessed(attempt, repaired=True)
    return PostProcessed("", repaired=True)


def closers(code: str) -> str:
    """The quotes and brackets that close what `code` leaves open, on a new line after a comment. "" if a bracket in
    `code` closes the wrong one."""
    stack: list[str] = []
    quote = ""
    i = 0
    while i < len(code):
        character = code[i]
        if quote:
            if character == "\\":
                i += 1
            elif code.startswith(quote, i):
                i += len(quote) - 1
                quote = ""
            elif character == "\n" and len(quote) == 1:
                return ""
        elif character == "#":
            end_of_line = code.find("\n", i)
            if end_of_line < 0:
                return "\n" + "".join(reversed(stack)) if stack else ""
            i = end_of_line
        elif character in "\"'":
            quote = code[i : i + 3] if code[i : i + 3] == 3 * character else character
            i += len(quote) - 1
        elif character in _CLOSERS:
            stack.append(_CLOSERS[character])
        elif character in ")]}" and (not stack or stack.pop() != character):
            return ""
        i += 1
    return quote + "".join(reversed(stack))


def loops(text: str, *, times: int = 5, min_characters: int = 20) -> bool:
    """True if `text` ends with the same string `times` times in a row, at least `min_characters` in all."""
    for length in range(1, len(text) // times + 1):
        if length * times < min_characters:
            continue
        end = text[-length:]
        if text.endswith(end * times) and end.strip():
            return True
    return False
