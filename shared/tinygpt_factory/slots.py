"""Slots: the places in a template where values go, such as `$xs`, and the pools that those are drawn from.

A slot's name, less a trailing digit, is the name of its pool (`pools.py`): `$xs` and `$xs2` are two different names of
lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

INVENTED = 0.35
"""How often a pool that invents values does."""


@dataclass(frozen=True)
class Pool:
    """The values of one kind of slot.

    `mentions` are ways to bring a value up in a prompt, `{}` being the value. `spoken` are other words for
    one value ("three" for "3"). A `variable` need not be named in the prompt: `unnamed` may stand there ("a list"),
    for the first of its kind and for a second, and `several` for two together ("lists"). `default` is then its name in
    the code (`lst`); two of a kind are `a` and `b`. A variable is a parameter where a function is asked for.
    Only values of an `open` pool are ever held out of training. `invent` makes up a value that is in no list; `alter`
    makes another of one drawn, for training.
    """

    values: tuple[str, ...]
    mentions: tuple[str, ...] = ("{}",)
    spoken: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    variable: bool = False
    unnamed: tuple[tuple[str, ...], ...] = ()
    several: str = ""
    default: str = ""
    open: bool = True
    invent: Callable[[Random], str] | None = None
    alter: Callable[[str, Random], str] | None = None

    def draw(self, rng: Random) -> str:
        """A value, listed or invented."""
        if self.invent is not None and rng.random() < INVENTED:
            return self.invent(rng)
        return rng.choice(self.values)


def choice(spoken: Mapping[str, tuple[str, ...]]) -> Pool:
    """A closed pool for one family: each value with the words a prompt has for it."""
    return Pool(tuple(spoken), spoken=spoken, mentions=(), open=False)


def pool_name(slot: str) -> str:
    """`xs2` -> `xs`."""
    return slot.rstrip("0123456789")


SLOT = re.compile(r"\$(?:([a-z]+[0-9]?)|\{([a-z]+[0-9]?)\})")
MENTION = re.compile(r"<([a-z]+[0-9]?)>")


def slots_in(template: str) -> list[str]:
    """The slots whose values a template holds, in order: `$xs`, or `${xs}` if a letter follows."""
    return [plain or braced for plain, braced in SLOT.findall(template.replace("$$", ""))]


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values in the place of slots, and a dollar in the place of `$$`."""
    return SLOT.sub(lambda match: values[match[1] or match[2]], template.replace("$$", "\0")).replace("\0", "$")
