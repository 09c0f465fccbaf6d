"""Whether two texts are the same code, whatever their spaces, quotes and comments."""

import ast


def normalised(code: str) -> str:
    """The syntax tree as text; the text itself, stripped, where it does not parse."""
    try:
        return ast.dump(ast.parse(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code.strip()
