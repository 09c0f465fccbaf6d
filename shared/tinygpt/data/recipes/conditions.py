"""Conditions: comparing, choosing, and small decisions."""

from tinygpt.data.recipes.family import Family, calls, gives, prints
from tinygpt.data.recipes.slots import choice

COMPARISON = choice(
    {
        ">": ("more than", "greater than", "bigger than", "above", "over", "larger than", "higher than"),
        "<": ("less than", "smaller than", "below", "under", "lower than", "fewer than"),
        ">=": ("at least", "greater than or equal to", "not less than", "no less than"),
        "<=": ("at most", "less than or equal to", "not more than", "no more than"),
        "==": ("equal to", "exactly", "the same as"),
        "!=": ("not equal to", "different from", "anything but", "not"),
    }
)

FAMILIES = (
    Family(
        name="conditions.compare_number",
        do=(
            "[check] [if] <n> is <op> <k>",
            "compare <n> to <k>: is it <op> it",
            "test for <n> being <op> <k>",
            "[check] [if] the value of <n> is <op> <k>",
            "[get] true if <n> is <op> <k>",
        ),
        say=("is <n> <op> <k>", "true if <n> is <op> <k>", "<n> is <op> <k> or not", "is the value of <n> <op> <k>"),
        pools={"op": COMPARISON},
        fn="compare",
        code="$n $op $k",
        check="for $n in ($k - 1, $k, $k + 1):\n    assert eval(code) is ($n $op $k)",
    ),
    Family(
        name="conditions.compare_variables",
        do=(
            "[check] [if] <n> is <op> <n2>",
            "compare <n> with <n2>: is it <op> it",
            "test for <n> being <op> <n2>",
            "[check] [if] the value of <n> is <op> that of <n2>",
            "[get] true if <n> is <op> <n2>",
        ),
        say=(
            "is <n> <op> <n2>",
            "true if <n> is <op> <n2>",
            "<n> is <op> <n2> or not",
            "is the value of <n> <op> that of <n2>",
        ),
        pools={"op": COMPARISON},
        fn="compare",
        code="$n $op $n2",
        check="for $n, $n2 in ((1, 2), (2, 2), (3, 2)):\n    assert eval(code) is ($n $op $n2)",
    ),
    Family(
        name="conditions.between",
        do=(
            "[check] [if] <n> is between <k> and <k2>",
            "[check] [if] <n> lies between <k> and <k2>",
            "[check] [if] <n> is in the range (from|) <k> to <k2>",
            "[check] [if] <n> is at least <k> and at most <k2>",
            "[check] [if] <n> is from <k> to <k2>, (inclusive|both included)",
        ),
        say=(
            "is <n> between <k> and <k2>",
            "true if <n> is between <k> and <k2>",
            "<n> between <k> and <k2>",
            "is <n> (in|within) the range <k> to <k2>",
        ),
        fn="is_between",
        code="$k <= $n <= $k2",
        check="for $n in range(-1, 130):\n    assert eval(code) is ($n in range($k, $k2 + 1))",
        where="$k < $k2",
    ),
    Family(
        name="conditions.even_or_odd",
        do=(
            'give "even" if <n> is even, else "odd"',
            "say even or odd for <n>",
            "[get] the word even or odd (for|depending on) <n>",
            "[get] 'even' or 'odd' depending on <n>",
            "tell if <n> is even or odd in words",
            "return even when <n> is even and odd otherwise",
            "label <n> as even or odd",
        ),
        say=('"even" if <n> is even, otherwise "odd"', "the text even or odd for <n>"),
        fn="even_or_odd",
        code='"even" if $n % 2 == 0 else "odd"',
        check=gives(("$n = 4", '"even"'), ("$n = 7", '"odd"')),
    ),
    Family(
        name="conditions.choose_word",
        do=(
            "give <w> if <n> is <op> <k>, else <w2>",
            "return <w> when <n> is <op> <k> and <w2> otherwise",
            "choose <w> if <n> is <op> <k>, otherwise <w2>",
            "say <w> if <n> is <op> <k> and <w2> if not",
            "pick <w> if <n> is <op> <k> or else <w2>",
            "[get] <w> for <n> <op> <k>, else <w2>",
        ),
        say=(
            "<w> if <n> is <op> <k> else <w2>",
            "if <n> is <op> <k> then <w>, else <w2>",
            "if <n> is <op> <k>, <w>, otherwise <w2>",
        ),
        pools={"op": COMPARISON},
        fn="choose",
        code='"$w" if $n $op $k else "$w2"',
        check='for $n in ($k - 1, $k, $k + 1):\n    assert eval(code) == ("$w2", "$w")[$n $op $k]',
    ),
    Family(
        name="conditions.print_if",
        do=(
            "print <msg> if <n> is <op> <k>",
            "show <msg> if <n> is <op> <k>",
            "display <msg> when <n> is <op> <k>",
            "print the text <msg> only if <n> is <op> <k>",
            "print <msg> when <n> is <op> <k>",
            "use an if to print <msg> when <n> is <op> <k>",
            "write an if statement: <n> <op> <k>, then print <msg>",
        ),
        say=("if <n> is <op> <k>, print <msg>", "if <n> is <op> <k> show <msg>", "when <n> is <op> <k>, print <msg>"),
        pools={"op": COMPARISON},
        code='if $n $op $k:\n    print("$msg")',
        check=prints(*((f"$n = $k + {d}", f'("", "$msg")[$k + {d} $op $k]') for d in (-1, 0, 1))),
    ),
    Family(
        name="conditions.both",
        do=(
            "[check] [if] both <n> and <n2> are <op> <k>",
            "[check] [if] <n> and <n2> are both <op> <k>",
            "[check] [if] <n> is <op> <k> and so is <n2>",
            "[check] [if] each of <n> and <n2> is <op> <k>",
            "[check] [if] neither of <n> and <n2> fails to be <op> <k>",
        ),
        say=(
            "are <n> and <n2> both <op> <k>",
            "are both <n> and <n2> <op> <k>",
            "true if both <n> and <n2> are <op> <k>",
            "is <n> <op> <k> and <n2> too",
        ),
        pools={"op": choice({op: COMPARISON.spoken[op] for op in (">", "<")})},
        fn="both",
        code="$n $op $k and $n2 $op $k",
        check=(
            "for $n, $n2 in ((a, b) for a in ($k - 1, $k, $k + 1) for b in ($k - 1, $k, $k + 1)):\n"
            "    assert eval(code) is all(v $op $k for v in ($n, $n2))"
        ),
    ),
    Family(
        name="conditions.either",
        do=(
            "[check] [if] (either|) <n> or <n2> is <op> <k>",
            "[check] [if] one of <n> and <n2> is <op> <k>",
            "[check] [if] at least one of <n> and <n2> is <op> <k>",
            "[check] [if] any of <n> and <n2> is <op> <k>",
            "[check] [if] <n> is <op> <k> or <n2> is",
        ),
        say=(
            "is (either|) <n> or <n2> <op> <k>",
            "is one of <n> and <n2> <op> <k>",
            "true if <n> or <n2> is <op> <k>",
            "is at least one of <n> and <n2> <op> <k>",
        ),
        pools={"op": choice({op: COMPARISON.spoken[op] for op in (">", "<")})},
        fn="either",
        code="$n $op $k or $n2 $op $k",
        check=(
            "for $n, $n2 in ((a, b) for a in ($k - 1, $k, $k + 1) for b in ($k - 1, $k, $k + 1)):\n"
            "    assert eval(code) is any(v $op $k for v in ($n, $n2))"
        ),
    ),
    Family(
        name="conditions.is_none",
        do=(
            "[check] [if] $n is none",
            "[check] [if] the variable $n is None",
            "[check] [if] $n has no value (set|)",
            "[check] [if] $n is nothing at all None",
            "test $n for None",
        ),
        say=("is $n None", "is the variable $n none", "true if $n is None", "$n is None or not"),
        code="$n is None",
        check=gives(("$n = None", "True"), ("$n = 0", "False")),
    ),
    Family(
        name="conditions.sign",
        do=(
            'return "positive", "negative" or "zero" for <n>',
            "say if <n> is positive, negative or zero",
            "tell the sign of <n> in words",
            "return positive, negative or zero depending on <n>",
            "name the sign of <n>: positive, negative or zero",
            "check whether <n> is positive, negative or zero",
        ),
        say=("sign function with the words positive, negative and zero", "function for positive, negative or zero"),
        fn="sign",
        code=(
            "def $fn($n):\n"
            "    if $n > 0:\n"
            '        return "positive"\n'
            "    if $n < 0:\n"
            '        return "negative"\n'
            '    return "zero"'
        ),
        check=calls('$fn(3) == "positive"', '$fn(-3) == "negative"', '$fn(0) == "zero"'),
    ),
    Family(
        name="conditions.leap_year",
        do=(
            "[check] [if] <n> is a leap year",
            "[check] [if] the year $n is a leap year",
            "[check] [if] <n> is a year with 366 days",
            "[check] [if] february has 29 days in the year $n",
        ),
        say=(
            "is <n> a leap year",
            "is the year $n a leap year",
            "true if <n> is a leap year",
            "leap year test for <n>",
        ),
        fn="is_leap_year",
        code="$n % 4 == 0 and ($n % 100 != 0 or $n % 400 == 0)",
        check=gives(("$n = 2024", "True"), ("$n = 1900", "False"), ("$n = 2000", "True"), ("$n = 2023", "False")),
    ),
    Family(
        name="conditions.grade",
        do=(
            "return pass if <n> is at least <k>, else fail",
            'return "pass" or "fail" for a score <n> with limit <k>',
            "[check] [if] <n> passes with <k> or more and give pass or fail",
            "give pass for <n> of <k> or more and fail otherwise",
            "decide pass or fail: <n> needs at least <k>",
            "grade <n> as pass from <k> on, else fail",
        ),
        say=("pass or fail for <n>, with <k> needed to pass", '"pass" if <n> is at least <k>, otherwise "fail"'),
        fn="grade",
        code='"pass" if $n >= $k else "fail"',
        check='for $n in ($k - 1, $k, $k + 1):\n    assert eval(code) == ("pass" if $n > $k - 1 else "fail")',
    ),
)
