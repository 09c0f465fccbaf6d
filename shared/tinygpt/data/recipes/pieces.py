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
    Filter("odd", ("odd [numbers]",), ("are odd", "are not even"), "x % 2 == 1"),
    Filter("positive", ("positive [numbers]",), ("are positive", "are above zero"), "x > 0"),
    Filter("negative", ("negative [numbers]",), ("are negative", "are below zero"), "x < 0"),
    Filter("above", ("[numbers] [more] $k", "[numbers] [more] $k"), ("are [more] $k",), "x > $k"),
    Filter("below", ("[numbers] [less] $k", "[numbers] [less] $k"), ("are [less] $k",), "x < $k"),
    Filter(
        "divisible",
        ("[numbers] divisible by $k", "multiples of $k"),
        ("are [divisible] $k", "can be divided by $k"),
        "x % $k == 0",
    ),
    Filter(
        "except", ("[numbers] other than $k", "[numbers] except $k"), ("are not $k", "are different from $k"), "x != $k"
    ),
)
WORD_FILTERS = (
    Filter(
        "longer",
        ("[words] longer than <c> letters", "[words] with more than <c> letters"),
        ("are longer than <c>", "have more than <c> letters"),
        "len(w) > $c",
    ),
    Filter(
        "shorter",
        ("[words] shorter than <c> letters", "[words] with fewer than <c> letters"),
        ("are shorter than <c>", "have less than <c> letters"),
        "len(w) < $c",
    ),
    Filter(
        "starting",
        ("[words] starting with <ch>", "[words] beginning with <ch>"),
        ("start with <ch>", "begin with <ch>"),
        'w.startswith("$ch")',
    ),
    Filter("ending", ("[words] ending (with|in) <ch>",), ("end with <ch>", "end in <ch>"), 'w.endswith("$ch")'),
    Filter(
        "containing",
        ("[words] containing <ch>", "[words] with <ch> in them"),
        ("contain <ch>", "have <ch> in them"),
        '"$ch" in w',
    ),
)
SLICES = (
    Filter("first", ("first <c> {many}", "first <c>"), cut="[:$c]"),
    Filter("last", ("last <c> {many}", "last <c>"), cut="[-$c:]"),
)
NUMBER_CHANGES = (
    Change("square", ("square {}", "take the square of {}"), ("squares of {}",), "x ** 2"),
    Change("cube", ("cube {}", "raise {} to the third power"), ("cubes of {}",), "x ** 3"),
    Change("double", ("double {}", "multiply {} by two"), ("doubles of {}", "{} doubled"), "x * 2"),
    Change("halve", ("halve {}", "divide {} by two"), ("halves of {}", "{} halved"), "x / 2"),
    Change("add", ("add $k2 to {}", "increase {} by $k2"), ("{} plus $k2", "{} increased by $k2"), "x + $k2"),
    Change(
        "subtract", ("subtract $k2 from {}", "decrease {} by $k2"), ("{} minus $k2", "{} decreased by $k2"), "x - $k2"
    ),
    Change("multiply", ("multiply {} by $k2",), ("{} times $k2", "{} multiplied by $k2"), "x * $k2"),
    Change("absolute", ("take the absolute value of {}", "drop the sign of {}"), ("absolute values of {}",), "abs(x)"),
    Change("negate", ("negate {}", "flip the sign of {}"), ("{} negated", "{} with the sign flipped"), "-x"),
    Change(
        "to_text", ("turn {} into strings", "convert {} to strings"), ("{} as strings",), "str(x)", gives_numbers=False
    ),
)
WORD_CHANGES = (
    Change(
        "upper",
        ("uppercase {}", "make {} [uppercase]", "change {} to [uppercase]"),
        ("{} in [uppercase]",),
        "w.upper()",
        gives_numbers=False,
    ),
    Change(
        "lower",
        ("lowercase {}", "make {} [lowercase]", "change {} to [lowercase]"),
        ("{} in [lowercase]",),
        "w.lower()",
        gives_numbers=False,
    ),
    Change(
        "capitalize",
        ("capitalize {}", "make {} start with a capital"),
        ("{} capitalized", "{} with a capital first letter"),
        "w.capitalize()",
        gives_numbers=False,
    ),
    Change(
        "backwards",
        ("spell {} backwards", "write {} backwards"),
        ("{} spelled backwards", "{} written backwards"),
        "w[::-1]",
        gives_numbers=False,
    ),
    Change(
        "strip",
        ("strip the spaces off {}", "trim {}"),
        ("{} without spaces around", "{} trimmed"),
        "w.strip()",
        gives_numbers=False,
    ),
    Change("length", ("get the length of {}", "count the letters of {}"), ("lengths of {}",), "len(w)"),
    Change("initial", ("take the first letter of {}",), ("first letters of {}",), "w[0]", gives_numbers=False),
)
FINISHES = (
    Finish("sum", ("sum {}", "add up {}", "total {}"), ("[sum] of {}",), "sum({})", "sum({})", numbers_only=True),
    Finish(
        "largest",
        ("find the [largest] of {}", "take the [largest] of {}"),
        ("[largest] of {}",),
        "max({})",
        "max({})",
        numbers_only=True,
    ),
    Finish(
        "smallest",
        ("find the [smallest] of {}", "take the [smallest] of {}"),
        ("[smallest] of {}",),
        "min({})",
        "min({})",
        numbers_only=True,
    ),
    Finish(
        "count",
        ("count {}",),
        ("number of {}", "count of {}"),
        "len([{}])",
        "len({})",
        after="f",
        asks=("how many {of} are in {xs}", "how many {of} does {xs} have", "how many [items] of {xs} {that}"),
    ),
    Finish("sort", ("sort {}", "put {} in order"), ("{} sorted", "sorted {}"), "sorted({})", "sorted({})"),
    Finish(
        "sort_down",
        ("sort {} in [descending] order", "sort {} from high to low"),
        ("{} in [descending] order", "{} sorted in reverse"),
        "sorted([{}], reverse=True)",
        "sorted({}, reverse=True)",
    ),
    Finish(
        "turn",
        ("reverse the order of {}", "put {} in reverse order"),
        ("{} in reverse order", "{} from last to first"),
        "[{}][::-1]",
        "{}[::-1]",
    ),
    Finish(
        "unique", ("make a set of {}", "put {} in a set"), ("set of {}", "{} as a set"), "{{}}", "set({})", after="fc"
    ),
    Finish(
        "first",
        ("take the first <c> of {}", "keep the first <c> of {}"),
        ("first <c> of {}",),
        "[{}][:$c]",
        "{}[:$c]",
        after="f",
    ),
    Finish(
        "last",
        ("take the last <c> of {}", "keep the last <c> of {}"),
        ("last <c> of {}",),
        "[{}][-$c:]",
        "{}[-$c:]",
        after="f",
    ),
)
