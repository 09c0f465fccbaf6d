"""Whether two texts are the same code, whatever their spaces, quotes and comments."""

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
    """The syntax tree as text; the text itself, stripped, where it does not parse."""
    tree = tree_of(code)
    with suppress(RecursionError):  # a tree may be deeper than `dump` goes
        if tree is not None:
            return ast.dump(tree)
    return code.strip()


class SameCode:
    """`code in SameCode(codes)`: whether one of many codes is the same.

    To make a tree takes longer than all else here. What has the same tree has the same names, so only the codes with
    all the names of the one that is asked for are parsed.
    """

    def __init__(self, codes: Iterable[str]) -> None:
        self._codes = list(dict.fromkeys(codes))
        self._with_word: defaultdict[str, set[int]] = defaultdict(set)
        for i, code in enumerate(self._codes):
            for word in _WORD.findall(code):
                self._with_word[word].add(i)

    def __contains__(self, code: str) -> bool:
        having = sorted((self._with_word.get(word, set()) for word in _words(code)), key=len)
        candidates = having[0].intersection(*having[1:]) if having else self._without_other_words(code)
        return any(normalised(self._codes[i]) == normalised(code) for i in candidates)

    def _without_other_words(self, code: str) -> list[int]:
        """The codes whose words are keywords, numbers and words of this code, which has no names; all of them where
        it has names that Python may read as others."""
        if not code.isascii():
            return list(range(len(self._codes)))
        allowed = {*_WORD.findall(code), *keyword.kwlist}
        return [
            i
            for i, known in enumerate(self._codes)
            if all(word in allowed or word[0].isdigit() for word in _WORD.findall(known))
        ]


def _words(code: str) -> set[str]:
    """Words that every text of the same code has: its names (but Python reads some letters beyond ASCII as others)."""
    tree = tree_of(code)
    if tree is None:
        return set(_WORD.findall(code))
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.FunctionDef(name=name):
                names.add(name)
    return {name for name in names if name.isascii()}
