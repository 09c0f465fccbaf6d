"""Keeps brackets and quotes balanced while code is generated: which tokens may follow, and whether the code may end.

A reader goes through the text one character at a time, as `postprocess.closers` does. Its state is three numbers: its
mode (in code, in a comment, in a string), how many brackets are open, and which ones, in two bits each. A token may
follow if the reader gets through its text without breaking a rule: a closing bracket matches the innermost open one,
and no line ends inside a one-line string. `<EOS>` may follow if nothing is open.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygpt.compiled.jit import jit, kernel
from tinygpt.data.tokenizer import CONTROL_TOKENS, EOS, Tokenizer

_END, _OTHER, _BACKSLASH, _HASH, _NEWLINE, _APOSTROPHE, _QUOTE = range(7)
_OPENING, _CLOSING = 8, 12
_KINDS = {
    "\\": _BACKSLASH,
    "#": _HASH,
    "\n": _NEWLINE,
    "'": _APOSTROPHE,
    '"': _QUOTE,
    **{bracket: _OPENING + i for i, bracket in enumerate("([{")},
    **{bracket: _CLOSING + i for i, bracket in enumerate(")]}")},
}

# Modes. Those of strings are for `'`. For `"`, add _DOUBLE.
_BROKEN, _CODE, _COMMENT = -1, 0, 1
_OPENED = 2  # after one quote: a string may follow, or it is empty, or this is the first quote of three
_TWO = 3  # after two quotes: an empty string, or the first two quotes of three
_STRING = 4
_ESCAPED = 5
_TRIPLE = 6
_TRIPLE_ONE = 7  # after one quote of the three that close it
_TRIPLE_TWO = 8
_TRIPLE_ESCAPED = 9
_DOUBLE = 8
_MAX_OPEN = 31
"""As many brackets as 62 bits hold. No more are opened."""

Reader = tuple[int, int, int]
"""Mode, number of open brackets, and which ones, the innermost in the two lowest bits."""


def token_texts(tokenizer: Tokenizer) -> NDArray[np.uint8]:
    """Each token's text as kinds of characters, (vocab, longest text). A control token has none."""
    texts = ["" if i < len(CONTROL_TOKENS) else tokenizer.decode([i]) or " " for i in range(tokenizer.vocab_size)]
    kinds = np.zeros((len(texts), max(map(len, texts)) + 1), np.uint8)
    for token, text in enumerate(texts):
        kinds[token, : len(text)] = [_KINDS.get(character, _OTHER) for character in text]
    return kinds


@kernel
def balanced_tokens(
    allowed: NDArray[np.bool_], texts: NDArray[np.uint8], output: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Which of the `allowed` tokens may follow `output`, the answer so far. `texts` comes from `token_texts`."""
    reader = (_CODE, 0, 0)
    for i in range(len(output)):
        reader = read_token(reader, texts, output[i])
    balanced = np.zeros_like(allowed)
    for token in range(len(allowed)):
        balanced[token] = allowed[token] and read_token(reader, texts, token)[0] != _BROKEN
    balanced[EOS] = allowed[EOS] and may_end(reader)
    return balanced


@jit
def may_end(reader: Reader) -> bool:
    mode, open_brackets, _ = reader
    return open_brackets == 0 and mode in (_CODE, _COMMENT, _TWO, _TWO + _DOUBLE)


@jit
def read_token(reader: Reader, texts: NDArray[np.uint8], token: Any) -> Reader:
    i = 0
    while texts[token, i] != _END and reader[0] != _BROKEN:
        reader = read_character(reader, texts[token, i])
        i += 1
    return reader


@jit
def read_character(reader: Reader, kind: int) -> Reader:
    """The reader after a character of this kind."""
    mode, open_brackets, which = reader
    double = _DOUBLE if mode >= _OPENED + _DOUBLE else 0
    quote = _QUOTE if double else _APOSTROPHE
    state = mode - double
    if state == _OPENED:
        if kind == quote:
            return _TWO + double, open_brackets, which
        state = _STRING
    elif state == _TWO:
        if kind == quote:
            return _TRIPLE + double, open_brackets, which
        state = _CODE
    if state in (_CODE, _COMMENT):
        return read_code(state, open_brackets, which, kind)
    after = read_string(state, kind, quote)
    return after + double if after >= _OPENED else after, open_brackets, which


@jit
def read_code(mode: int, open_brackets: int, which: int, kind: int) -> Reader:
    """The reader after a character outside strings."""
    if mode == _COMMENT:
        return _CODE if kind == _NEWLINE else _COMMENT, open_brackets, which
    if kind == _HASH:
        return _COMMENT, open_brackets, which
    if kind in (_APOSTROPHE, _QUOTE):
        return _OPENED if kind == _APOSTROPHE else _OPENED + _DOUBLE, open_brackets, which
    if kind >= _CLOSING:
        closes = open_brackets > 0 and which & 3 == kind - _CLOSING
        return _CODE if closes else _BROKEN, open_brackets - 1, which >> 2
    if kind >= _OPENING:
        room = open_brackets < _MAX_OPEN
        return _CODE if room else _BROKEN, open_brackets + 1, which << 2 | kind - _OPENING
    return _CODE, open_brackets, which


@jit
def read_string(mode: int, kind: int, quote: int) -> int:
    """The mode after a character inside a string that `quote` began."""
    if mode == _ESCAPED:
        return _STRING
    if mode == _STRING:
        if kind == quote:
            return _CODE
        if kind == _NEWLINE:
            return _BROKEN
        return _ESCAPED if kind == _BACKSLASH else _STRING
    if mode != _TRIPLE_ESCAPED and kind == quote:
        return _CODE if mode == _TRIPLE_TWO else mode + 1
    return _TRIPLE_ESCAPED if mode != _TRIPLE_ESCAPED and kind == _BACKSLASH else _TRIPLE
