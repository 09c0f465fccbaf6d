"""Comparison of code by its syntax tree, so that spaces, quotes and comments do not count."""

import ast
import keyword
import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache

from tinygpt.inference.postprocess import tree_of

_WORD = re.compile(r"\w+")


@lru_cache(maxsize=2**18)
def normalised(code: str) -> str:
    """The syntax tree as text. If `code` does not parse, `code` itself, stripped."""
    tree = tree_of(code)
    with suppress(RecursionError):  # the tree may be too deep for `dump`
        if tree is not None:
            return ast.dump(tree)
    return code.strip()


class SameCode:
    """`code in SameCode(codes)` is true if one of `codes` has the same syntax tree.

    Parsing takes most of the time here. The same tree has the same names, so only those codes are parsed that contain
    all names of `code`.
    """

    def __init__(self, codes: Iterable[str]) -> None:
        self._codes = list(dict.fromkeys(codes))
        self._with_word: defaultdict[str, set[int]] = defaultdict(set)
        for i, code in enumerate(self._codes):
            for word in _WORD.findall(code):
                self._with_word[word].add(i)

    def __contains__(self, code: str) -> bool:
        by_word = sorted((self._with_word.get(word, set()) for word in _words(code)), key=len)
        candidates = by_word[0].intersection(*by_word[1:]) if by_word else self._without_names(code)
        return any(normalised(self._codes[i]) == normalised(code) for i in candidates)

    def _without_names(self, code: str) -> list[int]:
        """The codes that may equal `code`, which has no ASCII names: those with no words except keywords, numbers and
        the words of `code`. All codes if `code` is not ASCII, because Python may normalise its names."""
        if not code.isascii():
            return list(range(len(self._codes)))
        allowed = {*_WORD.findall(code), *keyword.kwlist}
        return [
            i
            for i, known in enumerate(self._codes)
            if all(word in allowed or word[0].isdigit() for word in _WORD.findall(known))
        ]


def _words(code: str) -> set[str]:
    """Words that every text with the same tree has: its ASCII names. Python normalises some other names."""
    tree = tree_of(code)
    if tree is None:
        return set(_WORD.findall(code))
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.FunctionDef(name=name):
                names.add(name)
    return {name for name in names if name.isascii()}
