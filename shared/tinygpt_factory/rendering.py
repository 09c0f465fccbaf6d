"""From a family to one prompt with its code and check: synonyms, frames, slot values, and a beginner's slips."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from tinygpt_factory.family import Family, Phrasing
from tinygpt_factory.slots import MENTION, Pool, fill, slots_in
from tinygpt_factory.words import (
    ASKING,
    DEFINING,
    DEFINING_NAMED,
    QUESTION_WORDS,
    SAYING,
    SYNONYMS,
    third_person,
)

AS_FUNCTION = 0.15
UNNAMED = 0.6
"""How often a function's parameters go unnamed in the prompt, if they can."""
BARE = 0.45
"""How often the variables of an expression do."""
TOGETHER = 0.7
"""How often two unnamed things of a kind are spoken of as two, such as "two lists"."""
OF_A_KIND = ("a", "b", "c")
"""The names of unnamed things of one kind."""
NAMED_FUNCTION = 0.35
TYPO = 0.05
TRAINING_TYPO = 0.15
CAPITAL = 0.15
QUESTION_MARK = 0.4
SPOKEN = 0.5

_TWO_OF_A_KIND = re.compile(r"<(?P<kind>[a-z]+)> (?:and|with|by) <(?P=kind)2>")
_NOUNS = "lists?|arrays?|dicts?|dictionar(?:y|ies)|strings?|texts?|numbers?|sets?|tuples?|variables?|dates?|file|path"
_SYNONYM = re.compile(r"\[([a-z]+)\]")
_ALTERNATIVES = re.compile(r"\(([^()]*)\)")
_PLAIN_WORD = re.compile(r"(?<![$<\w'])[a-z]{4,}(?![\w'>])")


class NoSuchValues(Exception):
    """The family can't be drawn with the values that are allowed."""


@dataclass(frozen=True)
class Drawn:
    """One rendered row of a family. `slots` are the values of all its slots, `values` those of its code, and `shown`
    what the prompt has in place of some."""

    family: Family
    prompt: str
    code: str
    slots: Mapping[str, str]
    shown: Mapping[str, str]

    @property
    def values(self) -> dict[str, str]:
        return {slot: self.slots[slot] for slot in sorted(self.family.code_slots)}

    @property
    def check(self) -> str:
        """The Python that passes only if the code is right."""
        return fill(self.family.full_check, self.slots)


def expand(text: str, rng: Random) -> str:
    """Pick one synonym for every `[name]` and one alternative of every group, the innermost first."""
    text = _SYNONYM.sub(lambda match: rng.choice(SYNONYMS[match[1]]), text)
    while match := _ALTERNATIVES.search(text):
        text = text[: match.start()] + rng.choice(match[1].split("|")) + text[match.end() :]
    return " ".join(text.split()).replace(" ,", ",")


DrawValue = Callable[[Pool, Random], str | None]
"""Draws a slot's value from its pool; None is drawn anew."""


def draw(family: Family, phrasing: Phrasing, rng: Random, draw_value: DrawValue, typo_share: float = TYPO) -> Drawn:
    """One row of the family in this phrasing, with slot values of `draw_value`; a share of `typo_share` has a mistyped
    word.

    Raises:
        NoSuchValues: no values were drawn that meet the family's `where`.
    """
    text = expand(phrasing.text, rng)
    as_function = family.is_function or (bool(family.fn) and phrasing.request and rng.random() < AS_FUNCTION)
    if as_function and not family.is_function:
        family = family.as_function
    unnamed = False
    if rng.random() < (UNNAMED if as_function else BARE):
        mentioned = _with_mentions(family, text)
        unnamed = _only_mentioned(family, mentioned)
        text = mentioned if unnamed else text
    text = _framed(text, phrasing, as_function, rng)
    values = _values(family, text, unnamed, rng, draw_value)
    text, shown = _mentioned(family, text, values, unnamed, rng)
    prompt = fill(_slips(text, rng, typo_share), {**values, **shown})
    return Drawn(family, prompt, fill(family.full_code, values), values, shown)


def render(family: Family, values: Mapping[str, str]) -> tuple[str, str]:
    """The family's code and check with these slot values."""
    return fill(family.full_code, values), fill(family.full_check, values)


def _framed(text: str, phrasing: Phrasing, as_function: bool, rng: Random) -> str:
    if not phrasing.request:
        return text if as_function or text.split()[0] in QUESTION_WORDS else rng.choice(SAYING).format(say=text)
    if not as_function:
        frames = ASKING
    elif rng.random() < NAMED_FUNCTION:
        frames = DEFINING_NAMED
    else:
        frames = DEFINING
    return rng.choice(frames).format(do=text, does=third_person(text))


def _with_mentions(family: Family, text: str) -> str:
    """The text with mentions in place of names that follow a noun: "the list $xs" becomes "<xs>"."""
    slots = "|".join(re.escape(slot) for slot in family.variables)
    if not slots:
        return text
    text = re.sub(rf"(?:\b(?:the|my|a|two|both) )?\b(?:{_NOUNS}) \$({slots})\b", r"<\1>", text)
    return re.sub(rf"(<[a-z]+> (?:and|with|by)) \$({slots})\b", r"\1 <\2>", text)


def _only_mentioned(family: Family, text: str) -> bool:
    """Whether a prompt may leave out the names of all variables: each is mentioned once, and none by its bare name."""
    return all(MENTION.findall(text).count(slot) <= 1 and slot not in slots_in(text) for slot in family.variables)


def _place(slot: str) -> int:
    """The first of its kind is 0: `xs` -> 0, `xs2` -> 1."""
    return int(slot[-1]) - 1 if slot[-1].isdigit() else 0


def _values(family: Family, text: str, unnamed: bool, rng: Random, draw_value: DrawValue) -> dict[str, str]:
    slots = sorted(set(slots_in(text)) | set(MENTION.findall(text)))
    fixed: dict[str, str] = {}
    if "fn" in family.code_slots and "fn" not in slots:
        fixed["fn"] = family.fn
    fixed |= _conventional([slot for slot in family.variables if unnamed or slot not in slots], family)
    for _ in range(200):
        values = dict(fixed)
        for slot in slots:
            if slot not in values:
                values[slot] = _value(family.pool(slot), rng, draw_value)
        distinct = len(set(values.values())) == len(values)
        if distinct and (not family.where or eval(fill(family.where, values))):
            return values
    raise NoSuchValues(family.name)


def _conventional(slots: Sequence[str], family: Family) -> dict[str, str]:
    """The names of variables that the prompt does not name: `lst`, `text`, `n`; `a` and `b` for two of a kind."""
    defaults = {slot: family.pool(slot).default for slot in slots}
    names: dict[str, str] = {}
    for slot, default in defaults.items():
        of_a_kind = [other for other in defaults if defaults[other] == default]
        names[slot] = default if len(of_a_kind) == 1 else OF_A_KIND[of_a_kind.index(slot)]
    return names


def _value(pool: Pool, rng: Random, draw_value: DrawValue) -> str:
    for _ in range(200):
        if (value := draw_value(pool, rng)) is not None:
            return value
    raise NoSuchValues(", ".join(pool.values[:3]))


def _mentioned(
    family: Family, text: str, values: Mapping[str, str], unnamed: bool, rng: Random
) -> tuple[str, dict[str, str]]:
    """The text with every mention written out, and what it shows in place of values that are spoken."""
    shown: dict[str, str] = {}
    if unnamed and rng.random() < TOGETHER:
        text = _TWO_OF_A_KIND.sub(lambda match: _together(family, match, rng), text)

    def mention(match: re.Match[str]) -> str:
        slot = match[1]
        pool = family.pool(slot)
        if unnamed and slot in family.variables:
            return rng.choice(pool.unnamed[_place(slot)])
        spoken = pool.spoken.get(values[slot], ())
        if spoken and (not pool.mentions or values[slot].isspace() or rng.random() < SPOKEN):
            shown[slot] = rng.choice(spoken)
            return f"${slot}"
        return rng.choice(pool.mentions).format(f"${slot}")

    return MENTION.sub(mention, text), shown


def _together(family: Family, match: re.Match[str], rng: Random) -> str:
    """ "two lists" in the place of "<xs> and <xs2>"; what is no variable stays as it is."""
    if match["kind"] not in family.variables:
        return match[0]
    way = rng.choice(("two {}", "two {}", "two {}", "2 {}", "the two {}", "{}"))
    return way.format(family.pool(match["kind"]).several)


def _slips(text: str, rng: Random, typo_share: float) -> str:
    """What people do when they type: a capital, a question mark or none, now and then a wrong letter."""
    question = text.split()[0] in QUESTION_WORDS
    if rng.random() < typo_share:
        text = _typo(text, rng)
    if rng.random() < CAPITAL and not text.startswith("$"):
        text = text[0].upper() + text[1:]
    if question and rng.random() < QUESTION_MARK:
        text += "?"
    elif rng.random() < 0.04:
        text += "."
    return text


def _typo(text: str, rng: Random) -> str:
    """Drop, double or swap a letter inside one word that is no slot."""
    words = list(_PLAIN_WORD.finditer(text))
    if not words:
        return text
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    slip = rng.choice((text[at + 1] + text[at], text[at + 1], text[at] * 2 + text[at + 1]))
    return text[:at] + slip + text[at + 2 :]
