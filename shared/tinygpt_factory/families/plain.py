"""What people type first: a bare noun that names a known function, sums with plain numbers, units, constants.

These prompts name nothing to work on, or only numbers. A bare noun such as "factorial" is answered with a small
function, sums and units with an expression.
"""

from __future__ import annotations

from tinygpt_factory.family import Family, calls, definition, gives, prints
from tinygpt_factory.slots import Pool, choice

EVERYDAY = 1.5
"""The weight of what people ask every day, against 1 for a usual task."""

_NUMBERS = tuple(
    str(number)
    for number in (
        *range(2, 31),
        33,
        36,
        40,
        45,
        48,
        50,
        60,
        64,
        72,
        75,
        80,
        90,
        99,
        100,
        120,
        128,
        144,
        150,
        200,
        250,
        256,
        300,
        365,
        400,
        500,
        512,
        600,
        750,
        800,
        999,
        1000,
        1024,
        2000,
        2500,
    )
)
_SPOKEN = {
    "2": ("two",),
    "3": ("three",),
    "4": ("four",),
    "5": ("five",),
    "6": ("six",),
    "7": ("seven",),
    "8": ("eight",),
    "9": ("nine",),
    "10": ("ten",),
    "11": ("eleven",),
    "12": ("twelve",),
    "20": ("twenty",),
    "100": ("a hundred",),
    "1000": ("a thousand",),
}
_NUMBER = Pool(_NUMBERS, mentions=("{}",) * 8, spoken=_SPOKEN)
_TWO = {"x": _NUMBER, "y": _NUMBER}
_THREE = {**_TWO, "z": _NUMBER}

_ASKED = (
    "(what is|whats|what's|) {}",
    "(compute|calculate|work out|find|tell me|give me|get|show me|) {}",
    "{}",
    "(python|calc|result of|value of) {}",
    "{} in python",
    "how much is {}",
    "what does {} (give|make|equal)",
    "i want to know {}",
    "can you (compute|calculate|tell me) {}",
    "the result of {}",
)


def _with_its_numbers(code: str, expected: str) -> str:
    """The check of an answer that must come out right and be about the prompt's own numbers."""
    numbers = ", ".join(f'"{slot}"' for slot in ("$x", "$y", "$z") if slot in code)
    return "import re\n" + gives(("", expected)) + f"\nassert {{{numbers}}} <= set(re.findall(r'\\d+', code))"


def _sum(name: str, code: str, expected: str, *ways: str, pools: dict[str, Pool] | None = None, **more: str) -> Family:
    """A sum with plain numbers: every way to say it, alone or inside a question."""
    group = f"({'|'.join(ways)})" if len(ways) > 1 else ways[0]
    return Family(
        name=f"plain.number_{name}",
        say=tuple(frame.format(group) for frame in _ASKED),
        code=code,
        check=_with_its_numbers(code, expected),
        pools=pools or _TWO,
        where=more.get("where", ""),
        imports=more.get("imports", ""),
        weight=float(more.get("weight", "1")),
    )


SUMS = (
    _sum(
        "add",
        "$x + $y",
        "$x + $y",
        "<x> plus <y>",
        "<x> + <y>",
        "the sum of <x> and <y>",
        "<x> and <y> added",
        "<x> added to <y>",
        "sum of <x> and <y>",
        "the total of <x> and <y>",
        weight="1.5",
    ),
    _sum(
        "subtract",
        "$x - $y",
        "$x - $y",
        "<x> minus <y>",
        "<x> - <y>",
        "<x> take away <y>",
        "<y> less than <x>",
        "the difference of <x> and <y>",
        "<x> subtract <y>",
        where="$x > $y",
    ),
    _sum(
        "multiply",
        "$x * $y",
        "$x * $y",
        "<x> times <y>",
        "<x> * <y>",
        "<x> x <y>",
        "<x> multiplied by <y>",
        "the product of <x> and <y>",
        "product of <x> and <y>",
        weight="1.5",
    ),
    _sum(
        "divide",
        "$x / $y",
        "$x / $y",
        "<x> divided by <y>",
        "<x> / <y>",
        "<x> over <y>",
        "the quotient of <x> and <y>",
        where="$x > $y",
    ),
    _sum(
        "remainder",
        "$x % $y",
        "$x % $y",
        "the remainder of <x> divided by <y>",
        "<x> modulo <y>",
        "<x> mod <y>",
        "<x> % <y>",
        "the remainder of <x> by <y>",
        "what is left when <x> is divided by <y>",
        "remainder of <x> / <y>",
        where="$x > $y",
    ),
    _sum(
        "power",
        "$x ** $y",
        "$x ** $y",
        "<x> to the power of <y>",
        "<x> to the <y> power",
        "<x> raised to <y>",
        "<x> power <y>",
        "<x> ^ <y>",
        where="$x < 100 and $y < 12",
    ),
    _sum("square", "$x ** 2", "$x * $x", "<x> squared", "the square of <x>", "square of <x>", "<x> times itself"),
    _sum("cube", "$x ** 3", "$x * $x * $x", "<x> cubed", "the cube of <x>", "<x> to the third"),
    _sum("half", "$x / 2", "$x / 2", "half of <x>", "the half of <x>", "<x> halved", "one half of <x>"),
    _sum("double", "$x * 2", "$x * 2", "the double of <x>", "twice <x>", "double <x>", "two times <x>", "<x> doubled"),
    _sum(
        "percent",
        "$y * $x / 100",
        "$y * $x / 100",
        "<x> percent of <y>",
        "<x>% of <y>",
        "<x> % of <y>",
        where="$x <= 100",
    ),
    _sum(
        "square_root",
        "$x ** 0.5",
        "$x ** 0.5",
        "the square root of <x>",
        "square root of <x>",
        "sqrt of <x>",
        "root of <x>",
    ),
    _sum(
        "average_of_two",
        "($x + $y) / 2",
        "($x + $y) / 2",
        "the average of <x> and <y>",
        "average of <x> and <y>",
        "the mean of <x> and <y>",
    ),
    _sum(
        "average_of_three",
        "($x + $y + $z) / 3",
        "($x + $y + $z) / 3",
        "the average of <x>, <y> and <z>",
        "average of <x>, <y>, <z>",
        "the mean of <x> <y> and <z>",
        "average of <x> <y> <z>",
        pools=_THREE,
    ),
    _sum(
        "add_three",
        "$x + $y + $z",
        "$x + $y + $z",
        "<x> plus <y> plus <z>",
        "the sum of <x>, <y> and <z>",
        "sum of <x>, <y> and <z>",
        "<x> + <y> + <z>",
        "<x>, <y> and <z> added up",
        pools=_THREE,
    ),
    _sum(
        "larger",
        "max($x, $y)",
        "max($x, $y)",
        "the (bigger|larger|greater) of <x> and <y>",
        "the (bigger|larger|greater) (one|number) of <x> and <y>",
        "max of <x> and <y>",
        "the maximum of <x> and <y>",
    ),
    _sum(
        "smaller",
        "min($x, $y)",
        "min($x, $y)",
        "the (smaller|lesser) of <x> and <y>",
        "the (smaller|lower) (one|number) of <x> and <y>",
        "min of <x> and <y>",
        "the minimum of <x> and <y>",
    ),
    _sum(
        "factorial",
        "math.factorial($x)",
        "math.factorial($x)",
        "the factorial of <x>",
        "factorial of <x>",
        "<x>!",
        "<x> factorial",
        imports="import math",
        where="$x < 25",
    ),
    _sum(
        "gcd",
        "math.gcd($x, $y)",
        "math.gcd($x, $y)",
        "the gcd of <x> and <y>",
        "gcd of <x> and <y>",
        "the greatest common divisor of <x> and <y>",
        "hcf of <x> and <y>",
        imports="import math",
    ),
    _sum(
        "lcm",
        "math.lcm($x, $y)",
        "math.lcm($x, $y)",
        "the lcm of <x> and <y>",
        "lcm of <x> and <y>",
        "the least common multiple of <x> and <y>",
        imports="import math",
    ),
    _sum(
        "sum_up_to",
        "sum(range($x, $y + 1))",
        "sum(range($x, $y + 1))",
        "the sum of (the|all|) numbers from <x> to <y>",
        "sum of numbers <x> to <y>",
        "the total of all numbers between <x> and <y>",
        "<x> to <y> added up",
        where="$x < $y",
    ),
    _sum("absolute", "abs(-$x)", "$x", "the absolute value of -$x", "abs of -$x", "absolute value of minus <x>"),
    _sum(
        "whole_division",
        "$x // $y",
        "$x // $y",
        "<x> divided by <y> without (remainder|rest|decimals)",
        "<x> // <y>",
        "how many times <y> (fits|goes) into <x>",
        "<x> divided by <y> as a whole number",
        where="$x > $y",
    ),
)

_YES_NO = (
    "is {}",
    "is {}?",
    "check if {s}",
    "check whether {s}",
    "tell me if {s}",
    "test if {s}",
    "find out if {s}",
    "is {} in python",
    "see if {s}",
    "i want to know if {s}",
)


def _question(name: str, code: str, expected: str, rest: str, pools: dict[str, Pool] | None = None) -> Family:
    """A question with yes or no for an answer. `rest` is what follows "is"."""
    subject, _, predicate = rest.partition(" ")
    return Family(
        name=f"plain.number_{name}",
        say=tuple(frame.format(rest, s=f"{subject} is {predicate}") for frame in _YES_NO),
        code=code,
        check=_with_its_numbers(code, expected),
        pools=pools or _TWO,
        weight=0.5,
    )


QUESTIONS = (
    _question("is_even", "$x % 2 == 0", "($x % 2 == 0)", "<x> (even|an even number)"),
    _question("is_odd", "$x % 2 == 1", "($x % 2 == 1)", "<x> (odd|an odd number|uneven)"),
    _question("is_larger", "$x > $y", "($x > $y)", "<x> (bigger|larger|greater|more) than <y>"),
    _question("is_smaller", "$x < $y", "($x < $y)", "<x> (smaller|less|lower) than <y>"),
    _question("is_equal", "$x == $y", "($x == $y)", "<x> (equal to|the same as) <y>"),
    _question("is_divisible", "$x % $y == 0", "($x % $y == 0)", "<x> (divisible by|a multiple of) <y>"),
)

_UNITS = (
    ("hours", "minutes", "{} * 60", "3 * 60", "3"),
    ("minutes", "seconds", "{} * 60", "3 * 60", "3"),
    ("hours", "seconds", "{} * 3600", "3 * 3600", "3"),
    ("days", "hours", "{} * 24", "3 * 24", "3"),
    ("weeks", "days", "{} * 7", "3 * 7", "3"),
    ("years", "months", "{} * 12", "3 * 12", "3"),
    ("years", "days", "{} * 365", "3 * 365", "3"),
    ("minutes", "hours", "{} / 60", "90 / 60", "90"),
    ("seconds", "minutes", "{} / 60", "90 / 60", "90"),
    ("days", "weeks", "{} / 7", "14 / 7", "14"),
    ("days", "minutes", "{} * 24 * 60", "3 * 1440", "3"),
    ("months", "years", "{} / 12", "24 / 12", "24"),
    ("seconds", "hours", "{} / 3600", "7200 / 3600", "7200"),
    ("hours", "days", "{} / 24", "48 / 24", "48"),
    ("meters", "centimeters", "{} * 100", "3 * 100", "3"),
    ("centimeters", "meters", "{} / 100", "250 / 100", "250"),
    ("kilometers", "meters", "{} * 1000", "3 * 1000", "3"),
    ("meters", "kilometers", "{} / 1000", "500 / 1000", "500"),
    ("km", "miles", "{} * 0.621371", "3 * 0.621371", "3"),
    ("miles", "km", "{} * 1.60934", "3 * 1.60934", "3"),
    ("kilometers", "miles", "{} * 0.621371", "3 * 0.621371", "3"),
    ("kilograms", "grams", "{} * 1000", "3 * 1000", "3"),
    ("miles", "kilometers", "{} * 1.60934", "3 * 1.60934", "3"),
    ("grams", "kilograms", "{} / 1000", "500 / 1000", "500"),
    ("kg", "pounds", "{} * 2.20462", "3 * 2.20462", "3"),
    ("pounds", "kg", "{} * 0.453592", "3 * 0.453592", "3"),
    ("inches", "cm", "{} * 2.54", "3 * 2.54", "3"),
    ("cm", "inches", "{} / 2.54", "3 / 2.54", "3"),
    ("feet", "meters", "{} * 0.3048", "3 * 0.3048", "3"),
    ("feet", "inches", "{} * 12", "3 * 12", "3"),
    ("dollars", "cents", "{} * 100", "3 * 100", "3"),
    ("cents", "dollars", "{} / 100", "250 / 100", "250"),
    ("liters", "milliliters", "{} * 1000", "3 * 1000", "3"),
    ("dozens", "pieces", "{} * 12", "3 * 12", "3"),
)


def _units() -> tuple[Family, ...]:
    families = []
    for source, target, formula, expected, given in _UNITS:
        convert = "(convert|change|turn|transform)"
        families.append(
            Family(
                name=f"plain.{source}_to_{target}",
                do=(
                    f"{convert} {source} (to|into|in) {target}",
                    f"convert {source} to {target}",
                    f"get {target} from {source}",
                    f"express {source} (in|as) {target}",
                ),
                say=(
                    f"{source} to {target}",
                    f"{source} in {target}",
                    f"{source} into {target}",
                    f"from {source} to {target}",
                    f"how many {target} are {source}",
                    f"{source} as {target}",
                ),
                code=formula.format(source),
                check=gives((f"{source} = {given}", expected)),
                weight=0.35,
            )
        )
        families.append(
            Family(
                name=f"plain.number_of_{source}_to_{target}",
                say=(
                    f"<x> {source} (in|to|into) {target}",
                    f"(convert|change|turn) <x> {source} (to|into) {target}",
                    f"how many {target} (are|are in|is) <x> {source}",
                    f"<x> {source} as {target}",
                    f"number of {target} in <x> {source}",
                    f"{target} in <x> {source}",
                    f"what is <x> {source} in {target}",
                    f"calculate <x> {source} in {target}",
                ),
                code=formula.format("$x"),
                check=gives(("", formula.format("$x"))),
                pools=_TWO,
                weight=0.15,
            )
        )
        families.append(
            Family(
                name=f"plain.named_{source}_to_{target}",
                do=(
                    f"{convert} $n (from|) {source} (to|into) {target}",
                    f"convert $n from {source} to {target}",
                    f"{convert} the {source} (in|stored in|given by) $n (to|into) {target}",
                    f"get the {target} of $n {source}",
                    f"turn the number of {source} $n into {target}",
                ),
                say=(
                    f"$n {source} (in|to|as) {target}",
                    f"how many {target} (are|is) $n {source}",
                    f"$n (is|are) {source}, (i want|give me|get) {target}",
                    f"$n from {source} to {target}",
                ),
                code=formula.format("$n"),
                check=gives((f"$n = {given}", expected)),
                weight=0.15,
            )
        )
    return tuple(families)


_CONSTANTS = (
    ("pi", "math.pi", "math.pi", "import math", ("pi", "the number pi", "value of pi", "pi constant")),
    ("e", "math.e", "math.e", "import math", ("eulers number", "the number e", "euler number e", "constant e")),
    (
        "seconds_in_minute",
        "60",
        "60",
        "",
        ("seconds in a minute", "how many seconds (are in|has|are there in) a minute"),
    ),
    ("seconds_in_hour", "60 * 60", "3600", "", ("seconds in an hour", "how many seconds (are in|has) (an|one) hour")),
    ("seconds_in_day", "24 * 60 * 60", "86400", "", ("seconds in a day", "how many seconds (are in|has) (a|one) day")),
    ("minutes_in_hour", "60", "60", "", ("minutes in an hour", "how many minutes (are in|has) an hour")),
    ("minutes_in_day", "24 * 60", "1440", "", ("minutes in a day", "how many minutes (are in|has) (a|one) day")),
    ("hours_in_day", "24", "24", "", ("hours in a day", "how many hours (are in|has) (a|one) day")),
    ("hours_in_week", "7 * 24", "168", "", ("hours in a week", "how many hours (are in|has) (a|one) week")),
    ("days_in_week", "7", "7", "", ("days in a week", "how many days (are in|has) a week")),
    ("days_in_year", "365", "365", "", ("days in a year", "how many days (are in|has) a year")),
    ("months_in_year", "12", "12", "", ("months in a year", "how many months (are in|has) a year")),
    ("empty_list", "[]", "[]", "", ("(an|) empty list", "new empty list", "list with nothing in it")),
    ("empty_dict", "{}", "{}", "", ("(an|) empty (dict|dictionary)", "new empty dictionary")),
    ("empty_string", '""', '""', "", ("(an|) empty (string|text)", "string with nothing in it")),
    (
        "alphabet",
        "string.ascii_lowercase",
        '"abcdefghijklmnopqrstuvwxyz"',
        "import string",
        ("the alphabet", "alphabet as a string", "all letters of the alphabet", "letters a to z"),
    ),
    ("vowels", '"aeiou"', '"aeiou"', "", ("the vowels", "all vowels", "string of vowels", "vowels as a string")),
    ("true", "True", "True", "", ("true", "the value true", "boolean true")),
)
_CONSTANT_FRAMES = (
    "{}",
    "(give me|get|show me|tell me|) {}",
    "(make|create|) {}",
    "{} in python",
    "python {}",
    "{} please",
    "i need {}",
    "how (do|can) i (get|write|make) {}",
    "what is {} in python",
    "write {}",
)
CONSTANTS = tuple(
    Family(
        name=f"plain.constant_{name}",
        say=tuple(frame.format(f"({'|'.join(ways)})") for frame in _CONSTANT_FRAMES),
        code=code,
        check=gives(("", expected)),
        imports=imports,
        weight=0.2,
    )
    for name, code, expected, imports, ways in _CONSTANTS
)

_NOUN_FRAMES = (
    "{}",
    "{} function",
    "{} in python",
    "python {}",
    "{} code",
    "code for {}",
    "function for {}",
    "{} program",
    "program for {}",
    "write {}",
    "how to do {}",
    "{} python code",
    "(make|write|create|define) a {} function",
    "(simple|basic|easy) {} function",
    "{} algorithm",
    "(do|implement|code) {}",
    "{} please",
)


def _known(name: str, nouns: str, source: str, *facts: str, imports: str = "", weight: float = EVERYDAY) -> Family:
    """A function that a bare noun names. `nouns` are ways to name it, with `|` between."""
    group = f"({nouns})" if "|" in nouns else nouns
    return Family(
        name=f"plain.{name}",
        say=tuple(frame.format(group) for frame in _NOUN_FRAMES),
        fn=name,
        code=definition(source, imports),
        check=calls(*facts),
        weight=weight,
    )


KNOWN = (
    _known(
        "factorial",
        "factorial|factorial of a number|the factorial of a number|factorials|n factorial",
        "def $fn($n):\n    if $n <= 1:\n        return 1\n    return $n * $fn($n - 1)",
        "$fn(5) == 120",
        "$fn(0) == 1",
    ),
    _known(
        "is_prime",
        "is prime|prime check|prime number check|prime test|is a number prime|check prime|isprime|"
        "check if a number is prime|check if number is prime|prime number test|prime numbers check",
        "def $fn($n):\n    if $n < 2:\n        return False\n"
        "    return all($n % i for i in range(2, int($n ** 0.5) + 1))",
        "$fn(2) and $fn(13)",
        "not $fn(1) and not $fn(9)",
    ),
    _known(
        "fibonacci",
        "fibonacci|fibonacci number|nth fibonacci number|the fibonacci sequence|fib|fibonacci series",
        "def $fn($n):\n    if $n < 2:\n        return $n\n    return $fn($n - 1) + $fn($n - 2)",
        "$fn(10) == 55",
        "$fn(1) == 1",
    ),
    _known(
        "is_even",
        "is even|even check|even number check|check even|iseven|even or not|even test",
        "def $fn($n):\n    return $n % 2 == 0",
        "$fn(4) and not $fn(3)",
        "$fn(0)",
        weight=0.7,
    ),
    _known(
        "is_odd",
        "is odd|odd check|odd number check|check odd|isodd|odd or not|odd test",
        "def $fn($n):\n    return $n % 2 == 1",
        "$fn(3) and not $fn(4)",
        weight=0.7,
    ),
    _known(
        "is_palindrome",
        "is palindrome|palindrome|palindrome check|palindrome checker|check palindrome|palindromes|"
        "check if a string is a palindrome|palindrome test|is it a palindrome",
        "def $fn($s):\n    return $s == $s[::-1]",
        '$fn("level") and not $fn("ab")',
    ),
    _known(
        "is_leap_year",
        "is leap year|leap year|leap year check|check leap year|leap years|leap year test",
        "def $fn(year):\n    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)",
        "$fn(2024) and $fn(2000)",
        "not $fn(1900) and not $fn(2023)",
    ),
    _known(
        "gcd",
        "gcd|gcd of two numbers|greatest common divisor|hcf|hcf of two numbers|highest common factor|"
        "greatest common divisor of two numbers|euclid|euclidean",
        "def $fn(a, b):\n    while b:\n        a, b = b, a % b\n    return a",
        "$fn(12, 18) == 6",
        "$fn(7, 5) == 1",
    ),
    _known(
        "lcm",
        "lcm|lcm of two numbers|least common multiple|lowest common multiple|smallest common multiple",
        "def $fn(a, b):\n    return math.lcm(a, b)",
        "$fn(4, 6) == 12",
        "$fn(3, 5) == 15",
        imports="import math",
    ),
    _known(
        "fizzbuzz",
        "fizzbuzz|fizz buzz|fizzbuzz game|fizz-buzz",
        'def $fn($n):\n    if $n % 15 == 0:\n        return "FizzBuzz"\n    if $n % 3 == 0:\n        return "Fizz"\n'
        '    if $n % 5 == 0:\n        return "Buzz"\n    return str($n)',
        '$fn(15) == "FizzBuzz"',
        '$fn(9) == "Fizz"',
        '$fn(10) == "Buzz"',
        '$fn(7) == "7"',
    ),
    _known(
        "count_vowels",
        "count vowels|vowel count|vowel counter|counting vowels|number of vowels|vowels counter",
        'def $fn($s):\n    return sum(c in "aeiou" for c in $s.lower())',
        '$fn("Apple") == 2',
        '$fn("xyz") == 0',
    ),
    _known(
        "is_vowel",
        "is vowel|vowel check|is a letter a vowel|check vowel|vowel test",
        'def $fn(letter):\n    return letter.lower() in "aeiou"',
        '$fn("a") and $fn("E")',
        'not $fn("b")',
        weight=0.7,
    ),
    _known(
        "is_anagram",
        "anagram|anagrams|is anagram|anagram check|check anagram|anagram checker|anagram test",
        "def $fn(a, b):\n    return sorted(a) == sorted(b)",
        '$fn("listen", "silent")',
        'not $fn("ab", "ac")',
    ),
    _known(
        "reverse_string",
        "string reverse|string reversal|reversing a string",
        "def $fn($s):\n    return $s[::-1]",
        '$fn("abc") == "cba"',
        '$fn("") == ""',
        weight=0.7,
    ),
    _known(
        "reverse_number",
        "number reverse|reversing a number|number reversal",
        "def $fn($n):\n    return int(str($n)[::-1])",
        "$fn(123) == 321",
        "$fn(5) == 5",
        weight=0.7,
    ),
    _known(
        "digit_sum",
        "sum of digits|digit sum|sum of the digits of a number|digits sum|cross sum",
        "def $fn($n):\n    return sum(int(c) for c in str($n))",
        "$fn(123) == 6",
        "$fn(40) == 4",
        weight=0.7,
    ),
    _known(
        "bubble_sort",
        "bubble sort|bubblesort",
        "def $fn($xs):\n    for i in range(len($xs)):\n        for j in range(len($xs) - 1):\n"
        "            if $xs[j] > $xs[j + 1]:\n                $xs[j], $xs[j + 1] = $xs[j + 1], $xs[j]\n"
        "    return $xs",
        "$fn([3, 1, 2]) == [1, 2, 3]",
        "$fn([]) == []",
        "$fn([5, 4, 4]) == [4, 4, 5]",
    ),
    _known(
        "selection_sort",
        "selection sort|selectionsort",
        "def $fn($xs):\n    for i in range(len($xs)):\n        j = $xs.index(min($xs[i:]), i)\n"
        "        $xs[i], $xs[j] = $xs[j], $xs[i]\n    return $xs",
        "$fn([3, 1, 2]) == [1, 2, 3]",
        "$fn([]) == []",
        "$fn([5, 4, 4]) == [4, 4, 5]",
        weight=0.7,
    ),
    _known(
        "insertion_sort",
        "insertion sort|insertionsort",
        "def $fn($xs):\n    for i in range(1, len($xs)):\n        while i > 0 and $xs[i] < $xs[i - 1]:\n"
        "            $xs[i], $xs[i - 1] = $xs[i - 1], $xs[i]\n            i -= 1\n    return $xs",
        "$fn([3, 1, 2]) == [1, 2, 3]",
        "$fn([]) == []",
        "$fn([5, 4, 4]) == [4, 4, 5]",
        weight=0.7,
    ),
    _known(
        "quick_sort",
        "quick sort|quicksort",
        "def $fn($xs):\n    if len($xs) < 2:\n        return $xs\n    first, *rest = $xs\n"
        "    low = [x for x in rest if x < first]\n    high = [x for x in rest if x >= first]\n"
        "    return $fn(low) + [first] + $fn(high)",
        "$fn([3, 1, 2]) == [1, 2, 3]",
        "$fn([]) == []",
        "$fn([5, 4, 4]) == [4, 4, 5]",
        weight=0.7,
    ),
    _known(
        "linear_search",
        "linear search|sequential search",
        "def $fn($xs, $n):\n    for i, item in enumerate($xs):\n        if item == $n:\n            return i\n"
        "    return -1",
        "$fn([4, 7, 7], 7) == 1",
        "$fn([1], 3) == -1",
        weight=0.7,
    ),
    _known(
        "binary_search",
        "binary search|binary search in a sorted list|bisection search",
        "def $fn($xs, $n):\n    lo, hi = 0, len($xs)\n    while lo < hi:\n        mid = (lo + hi) // 2\n"
        "        if $xs[mid] < $n:\n            lo = mid + 1\n        else:\n            hi = mid\n"
        "    return lo if $n in $xs[lo:lo + 1] else -1",
        "$fn([1, 3, 5, 7], 5) == 2",
        "$fn([1, 3], 4) == -1",
        "$fn([2, 4, 6], 2) == 0",
    ),
    _known(
        "power",
        "power function|power of a number|exponentiation|power",
        "def $fn(a, b):\n    return a ** b",
        "$fn(2, 5) == 32",
        "$fn(3, 2) == 9",
        weight=0.7,
    ),
    _known(
        "is_armstrong",
        "armstrong number|is armstrong|armstrong|armstrong check",
        "def $fn($n):\n    digits = str($n)\n    return $n == sum(int(c) ** len(digits) for c in digits)",
        "$fn(153) and $fn(9474)",
        "not $fn(154)",
        weight=0.5,
    ),
    _known(
        "is_perfect",
        "perfect number|is perfect|perfect number check|is perfect number",
        "def $fn($n):\n    return $n > 1 and sum(i for i in range(1, $n) if $n % i == 0) == $n",
        "$fn(6) and $fn(28)",
        "not $fn(12)",
        weight=0.5,
    ),
    _known(
        "collatz",
        "collatz|collatz sequence|collatz steps",
        "def $fn($n):\n    steps = [$n]\n    while $n != 1:\n"
        "        $n = $n // 2 if $n % 2 == 0 else 3 * $n + 1\n        steps.append($n)\n    return steps",
        "$fn(6) == [6, 3, 10, 5, 16, 8, 4, 2, 1]",
        "$fn(1) == [1]",
        weight=0.5,
    ),
    _known(
        "primes_up_to",
        "sieve|sieve of eratosthenes|prime sieve|primes up to n|prime numbers up to n|list of primes",
        "def $fn($n):\n    return [i for i in range(2, $n + 1) if all(i % j for j in range(2, i))]",
        "$fn(11) == [2, 3, 5, 7, 11]",
        "$fn(1) == []",
        weight=0.7,
    ),
    _known(
        "prime_factors",
        "prime factors|prime factorization|factorize|prime factors of a number",
        "def $fn($n):\n    factors = []\n    divisor = 2\n    while $n > 1:\n        while $n % divisor == 0:\n"
        "            factors.append(divisor)\n            $n //= divisor\n        divisor += 1\n    return factors",
        "$fn(12) == [2, 2, 3]",
        "$fn(7) == [7]",
        "$fn(1) == []",
        weight=0.7,
    ),
    _known(
        "is_pangram",
        "pangram|is pangram|pangram check",
        'def $fn($s):\n    return set("abcdefghijklmnopqrstuvwxyz") <= set($s.lower())',
        '$fn("The quick brown fox jumps over the lazy dog")',
        'not $fn("hello")',
        weight=0.5,
    ),
    _known(
        "count_words",
        "word count|word counter|count words|counting words|number of words",
        "def $fn($s):\n    return len($s.split())",
        '$fn("a b c") == 3',
        '$fn("") == 0',
        weight=0.7,
    ),
    _known(
        "letter_counts",
        "letter count|letter frequency|character count|character frequency|letter counter",
        "def $fn($s):\n    return {c: $s.count(c) for c in $s}",
        '$fn("aab") == {"a": 2, "b": 1}',
        '$fn("") == {}',
        weight=0.7,
    ),
    _known(
        "is_sorted",
        "sorted check|is sorted check|sortedness check",
        "def $fn($xs):\n    return $xs == sorted($xs)",
        "$fn([1, 2]) and not $fn([2, 1])",
        weight=0.5,
    ),
    _known(
        "triangle_area",
        "triangle area|area of a triangle|the area of a triangle",
        "def $fn(base, height):\n    return base * height / 2",
        "$fn(3, 4) == 6",
        "$fn(5, 2) == 5",
        weight=0.5,
    ),
    _known(
        "clamp",
        "clamp|clamp a number|limit a number between two others",
        "def $fn($n, low, high):\n    return max(low, min($n, high))",
        "$fn(5, 1, 3) == 3",
        "$fn(0, 1, 3) == 1",
        "$fn(2, 1, 3) == 2",
        weight=0.3,
    ),
)

_DICE_FRAMES = (
    "{}",
    "{} in python",
    "python {}",
    "code for {}",
    "{} please",
    "(simulate|do|make) {}",
    "how to do {}",
    "program for {}",
    "write {}",
    "(get|give me) {}",
)


def _bare(name: str, ways: str, code: str, check: str, imports: str = "", weight: float = 0.5) -> Family:
    """A small thing that everybody asks for by its name, answered with an expression or a few lines."""
    return Family(
        name=f"plain.{name}",
        say=tuple(frame.format(f"({ways})") for frame in _DICE_FRAMES),
        code=code,
        check=check,
        imports=imports,
        weight=weight,
    )


def _typed(text: str, fact: str) -> str:
    """The check of an answer that asks for input: with this text typed, the fact must hold."""
    return (
        f'import builtins\nown = builtins.input\nbuiltins.input = lambda *_: "{text}"\n'
        f"try:\n    exec(code, globals())\nfinally:\n    builtins.input = own\nassert {fact}"
    )


def _always(expected: str) -> str:
    return f"assert {{eval(code) for _ in range(500)}} == {expected}"


_PASSWORD = '"".join(random.choice(string.ascii_letters) for _ in range(8))'
BARE = (
    _bare(
        "roll_dice",
        "a dice roll|roll a dice|rolling a dice|dice|a dice throw|throw a dice|a random dice number",
        "random.randint(1, 6)",
        _always("{1, 2, 3, 4, 5, 6}"),
        "import random",
    ),
    _bare(
        "flip_coin",
        "a coin flip|flip a coin|coin toss|toss a coin|coin flip|a coin toss",
        'random.choice(["heads", "tails"])',
        _always('{"heads", "tails"}'),
        "import random",
    ),
    _bare(
        "random_bool",
        "a random boolean|random true or false|random bool|true or false at random",
        "random.choice([True, False])",
        _always("{True, False}"),
        "import random",
        0.3,
    ),
    _bare(
        "random_float",
        "a random float|a random number between 0 and 1|random number from 0 to 1|random decimal",
        "random.random()",
        "assert all(0 <= eval(code) < 1 for _ in range(50))",
        "import random",
        0.3,
    ),
    _bare(
        "random_letter",
        "a random letter|random letter of the alphabet|a random character",
        "random.choice(string.ascii_lowercase)",
        "assert eval(code).isalpha()",
        "import random\nimport string",
        0.3,
    ),
    _bare(
        "random_password",
        "a random password|random password|password generator|generate a password",
        _PASSWORD,
        "assert len(eval(code)) == 8",
        "import random\nimport string",
        0.3,
    ),
    _bare(
        "hello_world",
        "hello world|hello world program|a hello world|the hello world program",
        'print("hello world")',
        prints(("", '"hello world"')),
        weight=1.0,
    ),
    _bare(
        "swap",
        "swap two variables|swap two numbers|swap a and b|swapping two variables|exchange two variables|"
        "swap two values|swap variables|interchange two variables",
        "a, b = b, a",
        "a, b = 1, 2\nexec(code, globals())\nassert (a, b) == (2, 1)",
        weight=1.0,
    ),
    _bare(
        "circle_area",
        "area of a circle|the area of a circle|circle area|area of circle",
        "math.pi * r ** 2",
        "r = 2\nassert eval(code) == math.pi * 4",
        "import math",
        1.0,
    ),
    _bare(
        "circumference",
        "circumference of a circle|the circumference of a circle|perimeter of a circle",
        "2 * math.pi * r",
        "r = 2\nassert eval(code) == math.pi * 4",
        "import math",
    ),
    _bare(
        "rectangle_area",
        "area of a rectangle|the area of a rectangle|rectangle area|area of rectangle",
        "width * height",
        gives(("width, height = 3, 4", "12"), ("width, height = 2, 5", "10")),
    ),
    _bare(
        "rectangle_perimeter",
        "perimeter of a rectangle|rectangle perimeter|the perimeter of a rectangle",
        "2 * (width + height)",
        gives(("width, height = 3, 4", "14"), ("width, height = 2, 5", "14")),
    ),
    _bare(
        "square_area",
        "area of a square|the area of a square|square area",
        "side ** 2",
        gives(("side = 3", "9"), ("side = 5", "25")),
    ),
    _bare(
        "cube_volume",
        "volume of a cube|the volume of a cube|cube volume",
        "side ** 3",
        gives(("side = 3", "27"), ("side = 5", "125")),
        weight=0.3,
    ),
    _bare(
        "sphere_volume",
        "volume of a sphere|the volume of a sphere|sphere volume",
        "4 / 3 * math.pi * r ** 3",
        "r = 3\nassert eval(code) == 4 / 3 * math.pi * 27",
        "import math",
        0.3,
    ),
    _bare(
        "hypotenuse",
        "hypotenuse|hypotenuse of a right triangle|the hypotenuse|pythagoras|longest side of a right triangle",
        "(a ** 2 + b ** 2) ** 0.5",
        gives(("a, b = 3, 4", "5"), ("a, b = 6, 8", "10")),
    ),
    _bare(
        "bmi",
        "bmi|body mass index|calculate bmi|bmi calculator",
        "weight / height ** 2",
        gives(("weight, height = 80, 2", "20"), ("weight, height = 50, 1", "50")),
        weight=0.3,
    ),
    _bare(
        "simple_interest",
        "simple interest|the simple interest|simple interest formula",
        "principal * rate * time / 100",
        gives(("principal, rate, time = 100, 5, 2", "10")),
        weight=0.3,
    ),
    _bare(
        "current_year",
        "(the|) current year|this year|what year is it|todays year",
        "date.today().year",
        "assert eval(code) == date.today().year",
        "from datetime import date",
    ),
    _bare(
        "countdown",
        "a countdown|countdown from 10|count down from 10|countdown from ten",
        "for i in range(10, 0, -1):\n    print(i)",
        prints(("", r'"10\n9\n8\n7\n6\n5\n4\n3\n2\n1"')),
        weight=0.3,
    ),
    _bare(
        "infinite_loop",
        "an infinite loop|infinite loop|endless loop|loop forever",
        "while True:\n    pass",
        'assert code == "while True:\\n    pass"',
        weight=0.2,
    ),
    _bare(
        "ask_name",
        "ask the user for (his|their|a|the) name|input a name|read a name from the user|get a name from the user",
        'name = input("Name: ")',
        _typed("Ann", 'name == "Ann"'),
    ),
    _bare(
        "ask_number",
        "ask the user for a number|input a number|read a number from the user|get a number from the user|"
        "take a number as input",
        'n = int(input("Number: "))',
        _typed("42", "n == 42"),
    ),
    _bare(
        "quit",
        "quit the program|exit the program|end the program|stop the program|exit python",
        "sys.exit()",
        "try:\n    eval(code)\nexcept SystemExit:\n    pass\nelse:\n    raise AssertionError",
        "import sys",
        0.3,
    ),
)

_FRACTIONS = choice(
    {
        "2": ("half", "one half", "a half"),
        "3": ("a third", "one third"),
        "4": ("a quarter", "one quarter", "a fourth"),
        "5": ("a fifth",),
        "10": ("a tenth", "one tenth"),
    }
)
WITH_A_NAME = (
    Family(
        name="plain.more_than",
        say=(
            "<x> more than $n",
            "$n plus <x>",
            "<x> added to $n",
            "$n increased by <x>",
            "$n and <x> more",
            "add <x> to $n",
            "what is $n plus <x>",
            "$n + <x>",
            "the sum of $n and <x>",
            "sum of $n and <x>",
        ),
        code="$n + $x",
        check=gives(("$n = 4", "4 + $x"), ("$n = -9", "-9 + $x")),
        pools=_TWO,
    ),
    Family(
        name="plain.less_than",
        say=(
            "<x> less than $n",
            "$n minus <x>",
            "<x> taken from $n",
            "$n decreased by <x>",
            "$n and <x> less",
            "subtract <x> from $n",
            "take <x> away from $n",
            "what is $n minus <x>",
            "$n - <x>",
            "$n reduced by <x>",
        ),
        code="$n - $x",
        check=gives(("$n = 4", "4 - $x"), ("$n = -9", "-9 - $x")),
        pools=_TWO,
    ),
    Family(
        name="plain.times_number",
        say=(
            "<x> times $n",
            "$n times <x>",
            "$n multiplied by <x>",
            "$n * <x>",
            "the product of $n and <x>",
            "multiply $n by <x>",
            "what is $n times <x>",
            "<x> times as much as $n",
        ),
        code="$n * $x",
        check=gives(("$n = 4", "4 * $x"), ("$n = -9", "-9 * $x")),
        pools=_TWO,
    ),
    Family(
        name="plain.divided_by_number",
        say=(
            "$n divided by <x>",
            "$n / <x>",
            "$n over <x>",
            "divide $n by <x>",
            "what is $n divided by <x>",
            "split $n into <x> equal parts",
            "one part of $n split in <x>",
            "$n shared by <x>",
        ),
        code="$n / $x",
        check=gives(("$n = 4", "4 / $x"), ("$n = -9", "-9 / $x")),
        pools=_TWO,
    ),
    Family(
        name="plain.fraction_of",
        say=(
            "<f> of $n",
            "<f> of the number $n",
            "the value of <f> of $n",
            "<f> of the variable $n",
            "get <f> of $n",
            "what is <f> of $n",
            "calculate <f> of $n",
            "i want <f> of $n",
            "give me <f> of $n",
            "take <f> of $n",
        ),
        code="$n / $f",
        check=gives(("$n = 60", "60 / $f"), ("$n = 5", "5 / $f")),
        pools={"f": _FRACTIONS},
    ),
    Family(
        name="plain.raise_by_percent",
        say=(
            "add <x> percent to $n",
            "$n plus <x> percent",
            "increase $n by <x> percent",
            "raise $n by <x>%",
            "$n with <x> percent added",
            "$n plus <x>%",
            "make $n <x> percent bigger",
            "$n increased by <x>%",
        ),
        code="$n * (1 + $x / 100)",
        check="$n = 200\nassert round(eval(code), 6) == round(200 + 2 * $x, 6)",
        pools=_TWO,
        weight=0.6,
    ),
    Family(
        name="plain.lower_by_percent",
        say=(
            "take <x> percent off $n",
            "$n minus <x> percent",
            "decrease $n by <x> percent",
            "reduce $n by <x>%",
            "$n with <x> percent discount",
            "$n minus <x>%",
            "<x> percent discount on $n",
            "$n lowered by <x>%",
        ),
        code="$n * (1 - $x / 100)",
        check="$n = 200\nassert round(eval(code), 6) == round(200 - 2 * $x, 6)",
        pools=_TWO,
        weight=0.6,
    ),
)

FAMILIES = (*SUMS, *QUESTIONS, *_units(), *CONSTANTS, *KNOWN, *BARE, *WITH_A_NAME)
