"""Recursion: functions that call themselves."""

from tinygpt.data.recipes.family import Family, calls

_R = "(recursively|with recursion|using recursion|in a recursive way|by calling itself)"

FAMILIES = (
    Family(
        name="recursion.factorial",
        do=(
            "[compute] the factorial of <n>",
            "[compute] the factorial of <n> " + _R,
            "return <n> factorial",
            "compute the product of 1 to <n> " + _R,
            "multiply all numbers from <n> down to 1 " + _R,
            "return the factorial of <n>",
        ),
        say=(
            "(recursive|) factorial function",
            "recursion function for the factorial of <n>",
            "factorial with recursion as a function",
        ),
        fn="factorial",
        code="def $fn($n):\n    if $n <= 1:\n        return 1\n    return $n * $fn($n - 1)",
        check=calls("$fn(5) == 120", "$fn(0) == 1", "$fn(1) == 1", "$fn(3) == 6"),
    ),
    Family(
        name="recursion.fibonacci",
        do=(
            "[compute] the fibonacci number of <n>",
            "[compute] the fibonacci number at <n>",
            "return the fibonacci number for <n>",
            "[compute] fibonacci of <n> " + _R,
            "return the nth fibonacci number",
            "compute the nth fibonacci number " + _R,
            "calculate fibonacci numbers " + _R,
        ),
        say=(
            "(recursive|) fibonacci function",
            "function for the nth fibonacci number",
            "fibonacci with recursion as a function",
        ),
        fn="fibonacci",
        code="def $fn($n):\n    if $n < 2:\n        return $n\n    return $fn($n - 1) + $fn($n - 2)",
        check=calls("$fn(10) == 55", "$fn(0) == 0", "$fn(1) == 1", "$fn(7) == 13"),
    ),
    Family(
        name="recursion.sum_list",
        do=(
            "sum <nums> " + _R,
            "add up <nums> " + _R,
            "[compute] the [sum] of <nums> " + _R,
            "add the [numbers] of <nums> " + _R,
            "total <nums> " + _R,
            "sum the [numbers] of <nums> without a loop, " + _R,
        ),
        say=(
            "recursive sum function for <nums>",
            "recursive function for the [sum] of <nums>",
            "sum of <nums> as a recursive function",
        ),
        fn="recursive_sum",
        code="def $fn($nums):\n    if not $nums:\n        return 0\n    return $nums[0] + $fn($nums[1:])",
        check=calls("$fn([1, 2, 3]) == 6", "$fn([]) == 0", "$fn([5]) == 5"),
    ),
    Family(
        name="recursion.reverse_string",
        do=(
            "[reverse] <s> " + _R,
            "write <s> backwards " + _R,
            "turn <s> around " + _R,
            "[get] <s> backwards " + _R,
            "[reverse] the [letters] of <s> " + _R,
            "spell <s> backwards " + _R,
        ),
        say=(
            "recursive function for reversing <s>",
            "recursive string reverse function",
            "reverse of <s> as a recursive function",
        ),
        fn="recursive_reverse",
        code="def $fn($s):\n    if not $s:\n        return $s\n    return $fn($s[1:]) + $s[0]",
        check=calls('$fn("abc") == "cba"', '$fn("") == ""', '$fn("hello") == "olleh"'),
    ),
    Family(
        name="recursion.power",
        do=(
            "raise <n> to the power <n2> " + _R,
            "[compute] <n> to the power of <n2> " + _R,
            "multiply <n> by itself <n2> times " + _R,
            "[compute] the power <n> to the <n2> " + _R,
            "work out <n> to the exponent <n2> " + _R,
        ),
        say=(
            "recursive power function",
            "recursive function for <n> to the power <n2>",
            "power of <n> and <n2> as a recursive function",
        ),
        fn="recursive_power",
        code="def $fn($n, $n2):\n    if $n2 == 0:\n        return 1\n    return $n * $fn($n, $n2 - 1)",
        check=calls("$fn(2, 10) == 1024", "$fn(5, 0) == 1", "$fn(3, 2) == 9"),
    ),
    Family(
        name="recursion.countdown",
        do=(
            "return a list that counts down from <n> to 1 " + _R,
            "count down from <n> " + _R,
            "make a countdown list from <n> " + _R,
            "list the numbers from <n> down to 1 " + _R,
            "return the numbers from <n> to one " + _R,
        ),
        say=(
            "recursive countdown function",
            "recursive function for a countdown from <n>",
            "recursive function giving the list from <n> down to 1",
        ),
        fn="countdown",
        code="def $fn($n):\n    if $n == 0:\n        return []\n    return [$n] + $fn($n - 1)",
        check=calls("$fn(3) == [3, 2, 1]", "$fn(0) == []", "$fn(1) == [1]"),
    ),
    Family(
        name="recursion.digit_sum",
        do=(
            "add the digits of <n> " + _R,
            "sum the digits of <n> " + _R,
            "[compute] the digit sum of <n> " + _R,
            "[compute] the sum of the digits of <n> " + _R,
            "add up all digits in <n> " + _R,
        ),
        say=(
            "recursive digit sum function",
            "recursive function for the digit sum of <n>",
            "digit sum of <n> as a recursive function",
        ),
        fn="recursive_digit_sum",
        code="def $fn($n):\n    if $n < 10:\n        return $n\n    return $n % 10 + $fn($n // 10)",
        check=calls("$fn(1234) == 10", "$fn(7) == 7", "$fn(99) == 18"),
    ),
    Family(
        name="recursion.palindrome",
        do=(
            "[check] [if] <s> is a palindrome " + _R,
            "test <s> for being a palindrome " + _R,
            "[check] [if] <s> reads the same backwards " + _R,
            "compare the ends of <s> and go inwards " + _R,
            "say if <s> is the same reversed, " + _R,
        ),
        say=(
            "recursive palindrome function",
            "recursive function that checks for a palindrome",
            "palindrome check of <s> as a recursive function",
        ),
        fn="recursive_palindrome",
        code="def $fn($s):\n    if len($s) < 2:\n        return True\n    return $s[0] == $s[-1] and $fn($s[1:-1])",
        check=calls('$fn("level") is True', '$fn("levels") is False', '$fn("") is True', '$fn("ab") is False'),
    ),
    Family(
        name="recursion.flatten",
        do=(
            "flatten <nested> " + _R,
            "flatten a list nested to any depth",
            "flatten <nested> however deep it is",
            "make one flat list of <nested> " + _R,
            "unpack all lists inside <nested>, however deep",
            "flatten <nested> at every level",
        ),
        say=("recursive flatten function", "deep flatten function", "recursive function for flattening <nested>"),
        fn="deep_flatten",
        code=(
            "def $fn($nested):\n"
            "    if not isinstance($nested, list):\n"
            "        return [$nested]\n"
            "    return [x for item in $nested for x in $fn(item)]"
        ),
        check=calls("$fn([1, [2, [3, [4]]]]) == [1, 2, 3, 4]", "$fn([]) == []", "$fn([[['a']]]) == ['a']"),
    ),
)
