"""Repair of generated code, judged by `ast.parse`: the code is never run."""

import ast
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache

_CLOSERS = {"(": ")", "[": "]", "{": "}"}
_MOST_LINES_CUT = 200


@dataclass(frozen=True)
class PostProcessed:
    """`code` parses, or is empty where nothing of the text could be saved."""

    code: str
    repaired: bool


@lru_cache(maxsize=64)
def parses(code: str) -> bool:
    """Whether `code` is whole Python with something in it; False too where Python can't tell, as of what is nested too
    deep. An answer is asked about more than once."""
    tree = tree_of(code)
    return tree is not None and bool(tree.body)


def tree_of(code: str) -> ast.Module | None:
    """The tree of `code`; None where Python makes none of it."""
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):  # the last: a parse within a parse
        return None


def ignore_syntax_warnings() -> None:
    """Let Python say nothing of odd but valid syntax in generated code (`1if x else 2`), which would go to the log. It
    holds for the whole process, and for text that comes from no file only."""
    warnings.filterwarnings("ignore", category=SyntaxWarning, module=re.escape("<unknown>"))
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=re.escape("<unknown>"))


def post_process_code(text: str) -> PostProcessed:
    """Close the brackets and quotes that `text` leaves open, or cut it back to its last complete statement."""
    code = text.strip("\n").rstrip()
    if parses(code):
        return PostProcessed(code, repaired=code != text)
    lines = code.split("\n")
    for kept in range(len(lines), max(0, len(lines) - _MOST_LINES_CUT), -1):
        candidate = "\n".join(lines[:kept]).rstrip()
        for attempt in (candidate, candidate + closers(candidate)):
            if parses(attempt):
                return PostProcessed(attempt, repaired=True)
    return PostProcessed("", repaired=True)


def closers(code: str) -> str:
    """The quotes and brackets that would close what `code` leaves open, on a line of their own after a comment; ""
    where a bracket closes the wrong one."""
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


def loops(text: str, *, times: int = 5, least_characters: int = 20) -> bool:
    """Whether `text` ends in the same piece `times` times over, at least `least_characters` in all."""
    for length in range(1, len(text) // times + 1):
        if length * times < least_characters:
            continue
        piece = text[-length:]
        if text.endswith(piece * times) and piece.strip():
            return True
    return False
