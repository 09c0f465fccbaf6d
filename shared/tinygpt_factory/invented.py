"""Names, numbers and phrases made up on the spot: a model can't know them by heart, only copy them from the prompt."""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Callable
from random import Random
from string import ascii_lowercase

_ONSETS = (
    *"bcdfghjklmnpqrstvwyz", "",
    "bl", "br", "ch", "cl", "cr", "dr", "fl", "gr", "pl", "pr", "qu", "sh", "st", "th", "tr",
)  # fmt: skip
_VOWELS = (*"aaeeiioou", "ai", "ea", "ee", "oo", "ou", "y")
_CODAS = ("", "", "", *"dklmnprstx", "ck", "ll", "nd", "nt", "rk", "rs", "ss", "st", "ng")
_ENDINGS = ("1", "2", "3", "4", "7", "10", "_1", "_2", "_3", "_x", "_b", "_id", "_new", "_list", "s")
_NOUNS_TEXT = """
price score user file student total max min avg count day week month year old new my the first last red blue big
small home work school bank city team game player word letter line page book song movie food fruit animal car bus
train plane room house street shop order item cart stock sale tax cost fee bill name age title size width height
speed time hour temp rain wind sun data info list set map key value code test exam grade class group row col cell
index level point goal shot step path root leaf node edge left right top side front back start end low high raw
clean final best main next prev input output result answer guess entry record log note message mail phone number
"""
_IN_USE_TEXT = """
json csv re os math random date datetime timedelta path file result total count text out io self cls args row rows
index item items number numbers word words key value values line lines letter cases draw seed code groups
"""
_TASKS_TEXT = """
average count sum square cube double sort merge join split strip trim update remove insert append reverse flip swap
filter group round convert import export print read write load save open close start end copy delete find search format
capitalize multiply divide add subtract total compare index pick select shift rotate repeat replace return check
"""
_TASK_FORMS_TEXT = """
averages averaged counts counted sums summed squares squared cubes cubed doubles doubled sorts merges merged joins
joined splits strips stripped trims trimmed updates updated removes removed inserts inserted appends appended reverses
flips flipped swaps swapped filters filtered grouped rounds rounded converts converted imports imported exports exported
prints printed reads writes written loads loaded saves saved opens opened closes closed starts started ends ended copies
copied deletes deleted finds found searches searched formats formatted multiplies multiplied divides divided adds added
subtracts subtracted totals compares compared indexes indexed picks picked selects selected shifts shifted rotates
rotated repeats repeated replaces replaced returns returned checks checked
"""
_LITTLE_WORDS_TEXT = """
a an the is are was my your to of in on at it you we not all and or so no yes have has be for
"""
_NOUNS = _NOUNS_TEXT.split()
_TASKS = _TASKS_TEXT.split()
_TASK_FORMS = _TASK_FORMS_TEXT.split()
_LITTLE_WORDS = _LITTLE_WORDS_TEXT.split()
LIKE_A_TASK = 0.08
"""The share of altered names that sound like a task."""
_IN_USE = frozenset(_IN_USE_TEXT.split())
"""Names that the code or the checks of some family use for themselves."""


def _syllables(rng: Random) -> str:
    count = rng.choice((1, 2, 2, 2, 2, 3))
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(count))


def _name(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.45:
        return _syllables(rng)
    if kind < 0.6:
        return _syllables(rng) + rng.choice(_ENDINGS)
    if kind < 0.7:
        return rng.choice(_NOUNS) + rng.choice(_ENDINGS)
    if kind < 0.9:
        return f"{rng.choice(_NOUNS)}_{rng.choice(_NOUNS)}"
    return rng.choice(_NOUNS) + rng.choice(_NOUNS).capitalize()


def invented_name(rng: Random) -> str:
    """A variable's name: "brelko", "tumi_2", "tax_total", "userGoal"."""
    while True:
        name = _name(rng)
        if _is_usable(name):
            return name


def name_like_a_task(rng: Random) -> str:
    """A name that sounds like what a prompt may ask for: "sorts", "merged", "split_list"."""
    while True:
        name = rng.choice(_TASK_FORMS) if rng.random() < 0.8 else f"{rng.choice(_TASKS)}_{rng.choice(_NOUNS)}"
        if _is_usable(name):
            return name


def altered_name(name: str, rng: Random) -> str:
    """A name with the beginning of a known one, which predicts nothing about its end: "accounrt", "repl", "stufff".
    At times a `name_like_a_task` instead.

    Returns `name` itself if it is too short or the altered name can't be used.
    """
    if len(name) < 3:
        return name
    if name.islower() and rng.random() < LIKE_A_TASK:
        return name_like_a_task(rng)
    at = rng.randrange(2, len(name) + 1)
    kept, letter, rest = name[: at - 1], name[at - 1], name[at:]
    altered = rng.choice(
        (
            kept + letter,
            kept + rest,
            kept + letter + letter + rest,
            kept + rng.choice(ascii_lowercase) + rest,
            kept + letter + _syllables(rng),
        )
    )
    return altered if _is_usable(altered) else name


def _is_usable(name: str) -> bool:
    taken = name in _IN_USE or keyword.iskeyword(name) or hasattr(builtins, name)
    return not taken and name.isidentifier() and 2 < len(name) < 12


def invented_class(rng: Random) -> str:
    """A class's name: "Brelko", "TaxTotal"."""
    return "".join(part[0].upper() + part[1:] for part in invented_name(rng).split("_"))


def invented_file(suffix: str) -> Callable[[Random], str]:
    """Names of files that end in `suffix`."""
    return lambda rng: invented_name(rng) + suffix


def invented_number(rng: Random) -> str:
    """Three or four digits."""
    return str(rng.randrange(101, 10_000))


def invented_phrase(rng: Random) -> str:
    """One to three words: "tax over", "brel my list"."""
    words = (rng.choice(_NOUNS) if rng.random() < 0.6 else _syllables(rng) for _ in range(rng.choice((1, 2, 2, 3))))
    return " ".join(words)


def altered_phrase(phrase: str, rng: Random) -> str:
    """A known phrase with one word left out, added or replaced (by chance with the same)."""
    words = phrase.split()
    at = rng.randrange(len(words))
    other = rng.choice((rng.choice(_NOUNS), rng.choice(_LITTLE_WORDS), _syllables(rng)))
    changes = [[other], [words[at], other]] + [[]] * (len(words) > 1)
    return " ".join([*words[:at], *rng.choice(changes), *words[at + 1 :]])
