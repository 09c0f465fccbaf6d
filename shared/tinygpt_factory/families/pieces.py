"""The pieces of compositions: what to keep, what to do to each, and what to make of the whole.

`{}` in a phrase is the object ("square {}" -> "square the even numbers in nums"). A piece is short and declarative:
one entry here brings one family of its own and a composition with every other piece that fits.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Domain:
    """What the list holds: its slot, the name of one element, what a prompt calls one and many."""

    slot: str
    element: str
    one: str
    many: str


@dataclass(frozen=True)
class Filter:
    """`of`: "even [numbers]"; `that`: "are even"; `test`: over the element. A slice has a `cut` in place of a test."""

    name: str
    of: tuple[str, ...]
    that: tuple[str, ...] = ()
    test: str = ""
    cut: str = ""


@dataclass(frozen=True)
class Change:
    """One element made into another. `do` takes the elements as its object, `noun` names the results."""

    name: str
    do: tuple[str, ...]
    noun: tuple[str, ...]
    code: str
    gives_numbers: bool = True


@dataclass(frozen=True)
class Finish:
    """The whole made into a value. `code` holds `{}`, a generator's body; `plain` is the same over a list's name.

    `after` says which kinds of piece may come before: "f" a filter, "c" a change, "s" a slice.
    `numbers_only` is a total or the like, which makes no sense of words. `asks` are questions of its own about
    a filter, with `{of}`, `{that}` and the list `{xs}`.
    """

    name: str
    do: tuple[str, ...]
    noun: tuple[str, ...]
    code: str
    plain: str
    after: str = "fcs"
    numbers_only: bool = False
    asks: tuple[str, ...] = ()


NUMBERS = Domain("nums", "x", "number", "[numbers]")
WORDS = Domain("words", "w", "word", "[words]")

NUMBER_FILTERS = (
    Filter("even", ("even [numbers]",), ("are even", "are divisible by two"), "x % 2 == 0"),
    Filter(
        "odd",
        ("odd [numbers]", "odd [numbers]", "uneven [numbers]"),
        ("are odd", "are not even", "are uneven"),
        "x % 2 == 1",
    ),
    Filter(
        "positive",
        ("positive [numbers]", "positive [numbers]", "[numbers] (above|greater than|bigger than) zero"),
        ("are positive", "are above zero", "are (greater|more) than zero"),
        "x > 0",
    ),
    Filter(
        "negative",
        ("negative [numbers]", "negative [numbers]", "[numbers] (below|less than|smaller than) zero"),
        ("are negative", "are below zero", "are (less|smaller) than zero"),
        "x < 0",
    ),
    Filter(
        "above",
        ("[numbers] [more] $k", "[numbers] [more] $k", "[numbers] (that are [more]|>) $k"),
        ("are [more] $k", "are [more] $k", "are > $k"),
        "x > $k",
    ),
    Filter(
        "below",
        ("[numbers] [less] $k", "[numbers] [less] $k", "[numbers] (that are [less]|<) $k"),
        ("are [less] $k", "are [less] $k", "are < $k"),
        "x < $k",
    ),
    Filter(
        "divisible",
        ("[numbers] divisible by $k", "multiples of $k", "[numbers] (that can be divided|that are divisible) by $k"),
        ("are [divisible] $k", "can be divided by $k", "are divisible by $k"),
        "x % $k == 0",
    ),
    Filter(
        "except",
        ("[numbers] other than $k", "[numbers] except $k", "[numbers] (that are not|not equal to|different from) $k"),
        ("are not $k", "are different from $k", "are not equal to $k"),
        "x != $k",
    ),
)
WORD_FILTERS = (
    Filter(
        "longer",
        (
            "[words] longer than <c> [letters]",
            "[words] with more than <c> [letters]",
            "[words] (of|that have) more than <c> [letters]",
        ),
        ("are longer than <c> (letters|)", "have more than <c> [letters]", "have a length (over|above) <c>"),
        "len(w) > $c",
    ),
    Filter(
        "shorter",
        (
            "[words] shorter than <c> [letters]",
            "[words] with fewer than <c> [letters]",
            "[words] (of|that have) less than <c> [letters]",
        ),
        ("are shorter than <c> (letters|)", "have less than <c> [letters]", "have a length (under|below) <c>"),
        "len(w) < $c",
    ),
    Filter(
        "starting",
        ("[words] starting with <ch>", "[words] beginning with <ch>", "[words] that (start|begin) with <ch>"),
        ("start with <ch>", "begin with <ch>", "have <ch> as (the|) first letter"),
        'w.startswith("$ch")',
    ),
    Filter(
        "ending",
        ("[words] ending (with|in) <ch>", "[words] that end (with|in) <ch>", "[words] with <ch> at the end"),
        ("end with <ch>", "end in <ch>", "have <ch> at the end"),
        'w.endswith("$ch")',
    ),
    Filter(
        "containing",
        ("[words] containing <ch>", "[words] with <ch> in them", "[words] that (contain|include|have) <ch>"),
        ("contain <ch>", "have <ch> in them", "include <ch>"),
        '"$ch" in w',
    ),
)
SLICES = (
    Filter("first", ("first <c> {many}", "first <c>"), cut="[:$c]"),
    Filter("last", ("last <c> {many}", "last <c>"), cut="[-$c:]"),
)
NUMBER_CHANGES = (
    Change(
        "square",
        ("square {}", "square {}", "take the square of {}", "raise {} to the second power"),
        ("squares of {}", "squares of {}", "{} squared"),
        "x ** 2",
    ),
    Change(
        "cube",
        ("cube {}", "cube {}", "raise {} to the third power", "raise {} to the power of three"),
        ("cubes of {}", "cubes of {}", "{} cubed"),
        "x ** 3",
    ),
    Change(
        "double",
        ("double {}", "double {}", "multiply {} by two", "make {} twice as big"),
        ("doubles of {}", "{} doubled", "{} times two"),
        "x * 2",
    ),
    Change(
        "halve",
        ("halve {}", "divide {} by two", "cut {} in half"),
        ("halves of {}", "{} halved", "{} divided by two"),
        "x / 2",
    ),
    Change(
        "add",
        ("add $k2 to {}", "add $k2 to {}", "increase {} by $k2", "make {} $k2 bigger"),
        ("{} plus $k2", "{} increased by $k2", "{} with $k2 added"),
        "x + $k2",
    ),
    Change(
        "subtract",
        ("subtract $k2 from {}", "take $k2 away from {}", "(decrease|reduce|lower) {} by $k2"),
        ("{} minus $k2", "{} (decreased|reduced) by $k2"),
        "x - $k2",
    ),
    Change(
        "multiply",
        ("multiply {} by $k2", "multiply {} by $k2", "make {} $k2 times bigger"),
        ("{} times $k2", "{} multiplied by $k2"),
        "x * $k2",
    ),
    Change(
        "absolute",
        ("take the absolute value of {}", "drop the sign of {}", "remove the minus sign (of|from) {}"),
        ("absolute values of {}", "absolute values of {}", "{} without the sign"),
        "abs(x)",
    ),
    Change(
        "negate",
        ("negate {}", "(flip|change|switch) the sign of {}"),
        ("{} negated", "{} with the sign flipped", "{} with the opposite sign"),
        "-x",
    ),
    Change(
        "to_text",
        ("turn {} into (strings|text)", "convert {} to (strings|text)", "make {} strings"),
        ("{} as strings", "{} as text", "{} converted to strings"),
        "str(x)",
        gives_numbers=False,
    ),
)
WORD_CHANGES = (
    Change(
        "upper",
        ("uppercase {}", "make {} [uppercase]", "change {} to [uppercase]", "put {} in [uppercase]"),
        ("{} in [uppercase]", "{} in [uppercase]", "{} uppercased"),
        "w.upper()",
        gives_numbers=False,
    ),
    Change(
        "lower",
        ("lowercase {}", "make {} [lowercase]", "change {} to [lowercase]", "put {} in [lowercase]"),
        ("{} in [lowercase]", "{} in [lowercase]", "{} lowercased"),
        "w.lower()",
        gives_numbers=False,
    ),
    Change(
        "capitalize",
        ("capitalize {}", "capitalize {}", "make {} start with a capital", "capitalize the first letter of {}"),
        ("{} capitalized", "{} with a capital first letter"),
        "w.capitalize()",
        gives_numbers=False,
    ),
    Change(
        "backwards",
        ("spell {} backwards", "write {} backwards", "(reverse|flip) the letters of {}"),
        ("{} spelled backwards", "{} written backwards", "{} with the letters reversed"),
        "w[::-1]",
        gives_numbers=False,
    ),
    Change(
        "strip",
        ("strip the spaces off {}", "trim {}", "strip {}", "remove the spaces (around|at the ends of) {}"),
        ("{} without spaces around", "{} trimmed", "{} stripped"),
        "w.strip()",
        gives_numbers=False,
    ),
    Change(
        "length",
        ("(get|find|measure) the length of {}", "count the [letters] of {}"),
        ("lengths of {}", "lengths of {}", "letter counts of {}"),
        "len(w)",
    ),
    Change(
        "initial",
        ("(take|get) the first letter of {}", "keep only the first letter of {}"),
        ("first letters of {}", "first letters of {}", "initials of {}"),
        "w[0]",
        gives_numbers=False,
    ),
)
FINISHES = (
    Finish(
        "sum",
        ("sum {}", "add up {}", "total {}", "sum up {}", "add {} together"),
        ("[sum] of {}", "[sum] of {}"),
        "sum({})",
        "sum({})",
        numbers_only=True,
    ),
    Finish(
        "largest",
        ("find the [largest] of {}", "(take|get|pick) the [largest] (one|) of {}"),
        ("[largest] of {}", "[largest] (one|number) of {}"),
        "max({})",
        "max({})",
        numbers_only=True,
    ),
    Finish(
        "smallest",
        ("find the [smallest] of {}", "(take|get|pick) the [smallest] (one|) of {}"),
        ("[smallest] of {}", "[smallest] (one|number) of {}"),
        "min({})",
        "min({})",
        numbers_only=True,
    ),
    Finish(
        "count",
        ("count {}", "count {}", "(get|find) the number of {}"),
        ("number of {}", "count of {}"),
        "len([{}])",
        "len({})",
        after="f",
        asks=(
            "how many {of} are (there|) in {xs}",
            "how many {of} does {xs} (have|contain)",
            "how many [items] (of|in) {xs} {that}",
            "{xs} has how many {of}",
            "count how many {of} are in {xs}",
        ),
    ),
    Finish(
        "sort",
        ("sort {}", "sort {}", "(put|arrange) {} in order", "sort {} in [ascending] order"),
        ("{} sorted", "sorted {}", "{} in order"),
        "sorted({})",
        "sorted({})",
    ),
    Finish(
        "sort_down",
        (
            "sort {} in [descending] order",
            "sort {} from high to low",
            "sort {} in reverse",
            "order {} from (high to low|large to small)",
        ),
        ("{} in [descending] order", "{} sorted in reverse", "{} sorted from high to low"),
        "sorted([{}], reverse=True)",
        "sorted({}, reverse=True)",
    ),
    Finish(
        "turn",
        ("reverse the order of {}", "(flip|turn around) the order of {}", "put {} in (reverse|reversed) order"),
        ("{} in reverse order", "{} from last to first", "{} in reversed order"),
        "[{}][::-1]",
        "{}[::-1]",
    ),
    Finish(
        "unique",
        ("make a set (of|from) {}", "put {} in a set", "turn {} into a set"),
        ("set of {}", "{} as a set", "{} in a set"),
        "{{}}",
        "set({})",
        after="fc",
    ),
    Finish(
        "first",
        ("take the first <c> of {}", "keep (only|) the first <c> of {}", "(get|pick) the first <c> of {}"),
        ("first <c> of {}",),
        "[{}][:$c]",
        "{}[:$c]",
        after="f",
    ),
    Finish(
        "last",
        ("take the last <c> of {}", "keep (only|) the last <c> of {}", "(get|pick) the last <c> of {}"),
        ("last <c> of {}",),
        "[{}][-$c:]",
        "{}[-$c:]",
        after="f",
    ),
)
