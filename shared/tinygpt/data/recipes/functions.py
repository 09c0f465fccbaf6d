"""Functions: defining them, defaults, lambdas, functions of functions."""

from tinygpt.data.recipes.family import Family, calls, gives
from tinygpt.data.recipes.slots import choice

ARITHMETIC = choice(
    {
        "+": ("plus", "increased by"),
        "-": ("minus", "reduced by", "less"),
        "*": ("times", "multiplied by"),
        "/": ("divided by", "over"),
    }
)

FAMILIES = (
    Family(
        name="functions.arithmetic",
        do=(
            "return <n> <op> <k>",
            "give back <n> <op> <k>",
            "compute <n> <op> <k>",
            "calculate <n> <op> <k>",
            "take <n> and return it <op> <k>",
            "get <n> and give back that <op> <k>",
            "work out <n> <op> <k>",
            "accept <n> and return it <op> <k>",
        ),
        say=("function of <n> giving it <op> <k>",),
        pools={"op": ARITHMETIC},
        fn="change_number",
        code="def $fn($n):\n    return $n $op $k",
        check=calls("$fn(1000) == 1000 $op $k", "$fn(7) == 7 $op $k"),
        where="$k > 2",
    ),
    Family(
        name="functions.greet",
        do=(
            'return "Hello, " and <s>',
            "greet <s> with hello",
            "greet a person by name with Hello",
            "take a name and return a (greeting|hello) for it",
            "say hello to <s>",
            "return a (greeting|hello message) for <s>",
            "make a greeting like Hello, Ann from <s>",
        ),
        say=("greeting function", "hello function for a name", "function for a hello to somebody"),
        fn="greet",
        code='def $fn($s):\n    return f"Hello, {$s}!"',
        check=calls('$fn("Ann") == "Hello, Ann!"', '$fn("Bob") == "Hello, Bob!"'),
    ),
    Family(
        name="functions.default_word",
        do=(
            "return its argument and take <w> as the default",
            "return <s>, which is <w> by default",
            "take <s> with the default <w> and return it",
            "return <s>, with <w> when nothing is given",
            "give back <s>, or <w> if it is called without argument",
            "have a parameter with the default <w> and return it",
        ),
        say=(
            "function with a default argument <w> that returns it",
            "function whose parameter is <w> by default, returning it",
        ),
        fn="value_or_default",
        code='def $fn($s="$w"):\n    return $s',
        check=calls('$fn() == "$w"', '$fn("other thing") == "other thing"'),
    ),
    Family(
        name="functions.lambda_arithmetic",
        do=(
            "[make] a lambda that returns x <op> <k>",
            "[make] a lambda for x <op> <k>",
            "write a lambda that gives x <op> <k>",
            "write a lambda (function|) that returns its argument <op> <k>",
            "define an anonymous function for x <op> <k>",
            "give me a lambda that computes x <op> <k>",
        ),
        say=(
            "lambda for x <op> <k>",
            "lambda that returns x <op> <k>",
            "lambda x giving x <op> <k>",
            "lambda function for a number <op> <k>",
        ),
        pools={"op": ARITHMETIC},
        code="lambda x: x $op $k",
        check="f = eval(code)\nassert f(1000) == 1000 $op $k\nassert f(7) == 7 $op $k",
        where="$k > 2",
    ),
    Family(
        name="functions.sum_of_arguments",
        do=(
            "take any number of arguments and return their sum",
            "add up all its arguments",
            "sum however many numbers it is given",
            "accept any number of numbers and add them",
            "return the sum of all its arguments",
            "add as many numbers as you pass it",
        ),
        say=(
            "function with *args that sums them",
            "varargs sum function",
            "function with any number of arguments, summed",
        ),
        fn="add_all",
        code="def $fn(*values):\n    return sum(values)",
        check=calls("$fn(1, 2, 3) == 6", "$fn() == 0", "$fn(5) == 5"),
    ),
    Family(
        name="functions.apply_twice",
        do=(
            "call another function twice on a value",
            "apply a function twice",
            "take a function and a value and apply the function two times",
            "apply a given function to its own result",
            "run a function f two times on x",
            "use a function twice in a row on a value",
        ),
        say=("apply twice function", "function of f and x that returns f of f of x", "function for applying f twice"),
        fn="apply_twice",
        code="def $fn(f, x):\n    return f(f(x))",
        check=calls("$fn(lambda x: x + 3, 1) == 7", "$fn(lambda x: x * 2, 5) == 20"),
    ),
    Family(
        name="functions.make_multiplier",
        do=(
            "return a function that multiplies by <n>",
            "[make] a function that multiplies by <n>",
            "give back a function which multiplies its argument by <n>",
            "return another function that multiplies by <n>",
            "take <n> and return a function that multiplies by it",
            "produce a multiplier function for <n>",
        ),
        say=(
            "function that makes multipliers",
            "multiplier factory function",
            "closure function that multiplies by <n>",
        ),
        fn="make_multiplier",
        code="def $fn($n):\n    return lambda x: x * $n",
        check=calls("$fn(3)(5) == 15", "$fn(2)(-4) == -8"),
        where='"$n" != "x"',
    ),
    Family(
        name="functions.rectangle_area",
        do=(
            "[compute] the area of a rectangle with sides <n> and <n2>",
            "[compute] the area of a rectangle from <n> and <n2>",
            "[compute] the area of a rectangle $n wide and $n2 high",
            "[compute] how big a rectangle of <n> by <n2> is",
            "[compute] the rectangle area for the sides <n> and <n2>",
        ),
        say=(
            "area of a rectangle with sides <n> and <n2>",
            "rectangle area for <n> and <n2>",
            "[whatis] the area of a rectangle of <n> by <n2>",
        ),
        fn="rectangle_area",
        code="$n * $n2",
        check=gives(("$n, $n2 = 3, 4", "12"), ("$n, $n2 = 2, 10", "20")),
    ),
    Family(
        name="functions.circle_area",
        do=(
            "[compute] the area of a circle with radius <n>",
            "[compute] the area of a circle from its radius <n>",
            "[compute] how big a circle with radius <n> is",
            "[compute] the circle area for the radius <n>",
            "[compute] pi times <n> squared",
        ),
        say=(
            "area of a circle with radius <n>",
            "circle area for radius <n>",
            "[whatis] the area of a circle with radius <n>",
        ),
        fn="circle_area",
        imports="import math",
        code="math.pi * $n ** 2",
        check="for $n in (1, 2.5, 10):\n    assert abs(eval(code) - 3.14159265358979 * $n * $n) < 1e-6",
    ),
)
