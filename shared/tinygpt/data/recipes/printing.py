"""Printing: what goes to the screen, and how it is separated."""

from tinygpt.data.recipes.family import Family, prints
from tinygpt.data.recipes.slots import choice

FAMILIES = (
    Family(
        name="printing.message",
        do=(
            "[print] <msg>",
            "[print] the (text|message|string) <msg>",
            "[print] <msg> on the screen",
            "write <msg> to the (screen|console|terminal)",
            "say <msg>",
            "make the program say <msg>",
            "put <msg> on the screen",
        ),
        say=("<msg> printed", "print statement for <msg>", "<msg> on the screen"),
        code='print("$msg")',
        check=prints(("", '"$msg"')),
    ),
    Family(
        name="printing.variable",
        do=(
            "[print] the variable $n",
            "[print] the value of $n",
            "[print] $n",
            "show what is in the variable $n",
            "put $n on the screen",
            "show me the value of the variable $n on the screen",
        ),
        say=("print statement for $n", "value of $n printed", "print for the variable $n"),
        code="print($n)",
        check=prints(("$n = 5", '"5"'), ("$n = 'hi'", '"hi"')),
    ),
    Family(
        name="printing.two_variables",
        do=(
            "[print] $n and $n2",
            "[print] $n and $n2 (on one line|in one line|on the same line)",
            "[print] the values of $n and $n2",
            "[print] both $n and $n2",
            "show the variables $n and $n2 on the screen",
            "[print] $n next to $n2",
        ),
        say=("print statement for $n and $n2", "$n and $n2 printed on one line"),
        code="print($n, $n2)",
        check=prints(("$n, $n2 = 5, 6", '"5 6"'), ("$n, $n2 = 'hi', 1", '"hi 1"')),
    ),
    Family(
        name="printing.labelled",
        do=(
            "[print] $n with (the|a) label <w>",
            "[print] <w> and a colon before the value of $n",
            "[print] <w>: and then $n",
            "[print] $n as <w>: value",
            "[print] the label <w> followed by a colon and $n",
            "show $n labelled <w>",
            "print the value of $n after the text <w> and a colon",
        ),
        say=("$n printed with the label <w>",),
        code='print(f"$w: {$n}")',
        check=prints(("$n = 5", '"$w: 5"'), ("$n = 'hi'", '"$w: hi"')),
    ),
    Family(
        name="printing.one_line",
        do=(
            "[print] <xs> on one line",
            "[print] all [items] of <xs> on (one|a single|the same) line",
            "[print] the [items] of <xs> separated by spaces",
            "[print] the [items] of <xs> next to each other",
            "[print] <xs> without brackets",
            "[print] <xs> with spaces between the [items]",
        ),
        say=("[items] of <xs> printed on one line", "<xs> printed without brackets and commas"),
        code="print(*$xs)",
        check=prints(("$xs = [1, 2, 3]", '"1 2 3"'), ("$xs = ['a', 'b']", '"a b"')),
    ),
    Family(
        name="printing.separated",
        do=(
            "[print] the [items] of <xs> separated by <sep>",
            "[print] <xs> with <sep> between the [items]",
            "[print] <xs> on one line with <sep> (as separator|between)",
            "[print] all [items] of <xs>, <sep> between them",
            "print <xs> with the separator <sep>",
            "put <sep> between the [items] of <xs> and print (it|them)",
        ),
        say=("<xs> printed with <sep> in between", "[items] of <xs> printed, separated by <sep>"),
        code='print(*$xs, sep="$sep")',
        check=prints(
            ("$xs = [1, 2, 3]", '"1" + "$sep" + "2" + "$sep" + "3"'), ("$xs = ['a', 'b']", '"a" + "$sep" + "b"')
        ),
    ),
    Family(
        name="printing.no_newline",
        do=(
            "[print] <s> without a (newline|new line|line break) (at the end|)",
            "[print] <s> and stay on the (same|) line",
            "[print] <s> with no line break after it",
            "[print] <s> with an empty end",
            "[print] <s> so that the next print goes on the same line",
            "show <s> without going to the next line",
        ),
        say=("print <s> with end empty", "<s> printed without newline"),
        code='print($s, end="")',
        check=(
            "import contextlib, io\n"
            "for $s in ('hi', 'a b'):\n"
            "    out = io.StringIO()\n"
            "    with contextlib.redirect_stdout(out):\n"
            "        exec(code, globals())\n"
            "    assert out.getvalue() == $s"
        ),
    ),
    Family(
        name="printing.line",
        do=(
            "[print] a line of <k> <mark>",
            "[print] <k> <mark> in a row",
            "draw a line of <k> <mark>",
            "[print] a row of <k> <mark>",
            "[print] <mark> <k> times on one line",
            "make a separator line of <k> <mark> and print it",
        ),
        say=("line of <k> <mark>, printed", "row of <k> <mark> on the screen"),
        pools={
            "mark": choice(
                {
                    "-": ("dashes",),
                    "*": ("stars", "asterisks"),
                    "=": ("equals signs",),
                    "#": ("hashes",),
                    "+": ("plus signs",),
                }
            )
        },
        code='print("$mark" * $k)',
        check=prints(("", '"".join(["$mark"] * $k)')),
    ),
)
