"""A family: one task, the ways to ask for it, the code that answers, and the check that proves an answer right.

In a phrasing, `$xs` is a slot's value and `<xs>` a mention of it ("the list nums", "nums", "my list nums");
`[get]` is any synonym listed in `words.py`, and `(the|)` any one of the alternatives. In `code` and `check`,
`$xs` is the value and `$$` a dollar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tinygpt_factory.pools import POOLS
from tinygpt_factory.slots import MENTION, Pool, pool_name, slots_in

MINIMUM_PHRASINGS = 8


@dataclass(frozen=True)
class Phrasing:
    """One template. A `request` starts with a verb, so that "how do i" or "function that" may come before it."""

    text: str
    request: bool

    @property
    def slots(self) -> frozenset[str]:
        """The slots that a prompt made from it shows."""
        return frozenset(slots_in(self.text)) | frozenset(MENTION.findall(self.text))


@dataclass(frozen=True)
class Family:
    """One task, `topic.task`.

    `do` are requests that start with a verb; `say` is every other way to ask. A family whose code holds `$fn`
    answers with a function, called `fn` unless the prompt names it; its parameters may go unnamed too. An
    expression with an `fn` is at times asked for as a function of its variables. `imports` go before a function,
    and before the check of an expression. `pools` are slots of this family alone; `where` is a condition on the
    slots' values. `parts` are the operations that a composition is made of, and `wording` names the set of
    templates it shares with others.

    Raises:
        ValueError: too few phrasings, or a phrasing that lacks a slot the code needs.
    """

    name: str
    code: str
    check: str
    do: tuple[str, ...] = ()
    say: tuple[str, ...] = ()
    fn: str = ""
    imports: str = ""
    pools: Mapping[str, Pool] = field(default_factory=dict)
    where: str = ""
    weight: float = 1.0
    parts: tuple[str, ...] = ()
    wording: str = ""

    def __post_init__(self) -> None:
        if (distinct := len(set(self.phrasings))) < MINIMUM_PHRASINGS:
            raise ValueError(f"{self.name} has {distinct} different phrasings; it needs {MINIMUM_PHRASINGS}.")
        for slot in self.code_slots - {"fn"}:
            self.pool(slot)
        for phrasing in self.phrasings:
            missing = self.code_slots - {"fn"} - phrasing.slots
            names_nothing = not phrasing.slots & set(self.variables)
            if missing - (set(self.variables) if self.is_function or names_nothing else set()):
                raise ValueError(f"{self.name}: {phrasing.text!r} lacks {', '.join(sorted(missing))}.")

    @cached_property
    def phrasings(self) -> tuple[Phrasing, ...]:
        return tuple(Phrasing(text, True) for text in self.do) + tuple(Phrasing(text, False) for text in self.say)

    @cached_property
    def code_slots(self) -> frozenset[str]:
        return frozenset(slots_in(self.code))

    @property
    def is_function(self) -> bool:
        return "$fn" in self.code

    def pool(self, slot: str) -> Pool:
        """The pool a slot draws from. Raises `ValueError` for a slot that no vocabulary knows."""
        try:
            return self.pools.get(slot) or POOLS[pool_name(slot)]
        except KeyError:
            raise ValueError(f"{self.name}: no pool for the slot ${slot}.") from None

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """The slots that stand for variables, in the order in which the code uses them."""
        found = dict.fromkeys(slots_in(self.code))
        return tuple(slot for slot in found if slot != "fn" and self.pool(slot).variable)

    @cached_property
    def full_code(self) -> str:
        """The code under the imports that it needs: an answer runs by itself, given only the prompt's variables."""
        return self.code if self.is_function else _under(_needed(self.imports, self.code), self.code)

    @cached_property
    def full_check(self) -> str:
        """The check with its own imports. It runs the answer in a fresh namespace with nothing but the variables."""
        check = self.check.replace("eval(code)", "answer_value(code, globals())")
        check = check.replace("exec(code, globals())", "run_answer(code, globals())")
        return _under(self.imports, check)

    @cached_property
    def as_function(self) -> Family:
        """The same task with its expression returned from a function, and its check calling that."""
        call = f"$fn({', '.join('$' + slot for slot in self.variables)})"
        return Family(
            name=self.name,
            code=definition(f"def {call}:\n    return {self.code}", _needed(self.imports, self.code)),
            check="exec(code, globals())\n" + _under(self.imports, self.check.replace("eval(code)", call)),
            do=self.do,
            say=self.say,
            fn=self.fn,
            pools=self.pools,
            where=self.where,
        )


def _under(imports: str, text: str) -> str:
    return f"{imports}\n{text}" if imports else text


def _needed(imports: str, code: str) -> str:
    """Those of the names that `imports` imports which `code` uses."""
    lines = []
    for line in imports.splitlines():
        keyword, _, names = line.rpartition("import ")
        used = [name for name in names.split(", ") if re.search(rf"(?<![.\w$]){name}\b", code)]
        if used:
            lines.append(f"{keyword}import {', '.join(used)}")
    return "\n".join(lines)


def definition(source: str, imports: str = "") -> str:
    """A function's source under the imports it needs."""
    return f"{imports}\n\n\n{source}" if imports else source


def gives(*cases: tuple[str, str]) -> str:
    """The check of an expression: after each setup, it must equal what is expected."""
    return "\n".join(f"{setup}\nassert eval(code) == {expected}" for setup, expected in cases)


def calls(*facts: str) -> str:
    """The check of a definition: run it, then every fact must hold."""
    return "\n".join(["exec(code, globals())", *(f"assert {fact}" for fact in facts)])


def leaves(*cases: tuple[str, str]) -> str:
    """The check of statements: after each setup, running them must leave the fact true."""
    return "\n".join(f"{setup}\nexec(code, globals())\nassert {fact}" for setup, fact in cases)


def prints(*cases: tuple[str, str]) -> str:
    """The check of statements that print: after each setup, what is printed must equal the expected expression."""
    runs = "".join(
        f"\n{setup}\nout = io.StringIO()\nwith contextlib.redirect_stdout(out):\n    exec(code, globals())"
        f"\nassert out.getvalue().rstrip() == {expected}"
        for setup, expected in cases
    )
    return "import contextlib, io" + runs


def raises(error: str, *calls_: str) -> str:
    """More facts for a check: each call must raise the error."""
    return "".join(
        f"\ntry:\n    {call}\nexcept {error}:\n    pass\nelse:\n    raise AssertionError({call!r})" for call in calls_
    )
