"""Errors and exceptions: catching, raising, defining."""

from tinygpt.data.recipes.family import Family, calls, leaves, raises
from tinygpt.data.recipes.slots import choice

ERROR = choice(
    {
        name: (name, name)
        for name in ("ValueError", "TypeError", "KeyError", "RuntimeError", "IndexError", "LookupError")
    }
)

FAMILIES = (
    Family(
        name="errors.to_int_or_default",
        do=(
            "convert <s> to an int or return <k> (if that fails|on error)",
            "parse <s> as (an|) int and return <k> if it fails",
            "turn <s> into an int, or give <k> when it is no number",
            "return <s> as an int or <k> if it is not a number",
            "try to make an int of <s>, else return <k>",
            "read <s> as an int and fall back to <k>",
        ),
        say=("safe int function with the default <k>", "function for a safe int conversion, <k> on failure"),
        fn="int_or_default",
        code="def $fn($s):\n    try:\n        return int($s)\n    except ValueError:\n        return $k",
        check=calls('$fn("-7") == -7', '$fn("abc") == $k', '$fn("12") == 12'),
    ),
    Family(
        name="errors.safe_divide",
        do=(
            "divide <n> by <n2> and return None on division by zero",
            "divide <n> by <n2> safely",
            "divide <n> by <n2> but return None when that is by zero",
            "return <n> divided by <n2> or None if it fails",
            "divide <n> by <n2> without crashing on zero",
            "catch the ZeroDivisionError when dividing <n> by <n2>",
        ),
        say=("safe divide function", "safe division function", "function for division that catches zero division"),
        fn="safe_divide",
        code="def $fn($n, $n2):\n    try:\n        return $n / $n2\n    except ZeroDivisionError:\n        return None",
        check=calls("$fn(6, 3) == 2", "$fn(1, 0) is None", "$fn(1, 4) == 0.25"),
    ),
    Family(
        name="errors.raise_if_negative",
        do=(
            "raise (a|) ValueError if $n is negative",
            "raise (a|) ValueError when $n is (below|less than|under) zero",
            "throw (a|) ValueError if $n is negative",
            "stop with a ValueError if $n is negative",
            "fail with (a|) ValueError for a negative $n",
            "make sure $n is not negative, else raise ValueError",
        ),
        say=(
            "ValueError if $n is negative",
            "ValueError when $n is (below|less than|under) 0",
            "if $n is negative raise (a|) ValueError",
        ),
        code='if $n < 0:\n    raise ValueError("$n is negative")',
        check="$n = 1\nexec(code, globals())\n$n = 0\nexec(code, globals())\n$n = -1"
        + raises("ValueError", "exec(code, globals())"),
    ),
    Family(
        name="errors.raise_message",
        do=(
            "[raise] (a|an|) $error with the (message|text) <msg>",
            "[raise] (a|an|) $error saying <msg>",
            "raise $error with <msg>",
            "raise (a|an|) $error that says <msg>",
            "[raise] the error $error with the message <msg>",
            "stop with (a|an) $error and the message <msg>",
        ),
        say=("$error with the message <msg>", "(a|an|) $error saying <msg>"),
        pools={"error": ERROR},
        code='raise $error("$msg")',
        check=(
            "try:\n"
            "    exec(code, globals())\n"
            "except Exception as error:\n"
            "    caught = error\n"
            "assert type(caught) is $error\n"
            'assert caught.args == ("$msg",)'
        ),
    ),
    Family(
        name="errors.try_int",
        do=(
            "try to convert <s> to an int in $n and print <msg> if it fails",
            "convert <s> to int as $n and print <msg> on (a|) ValueError",
            "set $n to int of <s>, print <msg> if that is not possible",
            "try $n = int of <s> and print <msg> on error",
            "parse <s> into the int $n, on failure print <msg>",
            "turn <s> into the int $n and show <msg> when that fails",
        ),
        say=("try int of <s> into $n, except print <msg>", "$n as int of <s>, and <msg> printed on failure"),
        code='try:\n    $n = int($s)\nexcept ValueError:\n    print("$msg")',
        check=(
            "import contextlib, io\n"
            '$s = "-7"\n'
            "out = io.StringIO()\n"
            "with contextlib.redirect_stdout(out):\n"
            "    exec(code, globals())\n"
            '    assert $n == -7 and out.getvalue() == ""\n'
            '    $s = "no"\n'
            "    exec(code, globals())\n"
            'assert out.getvalue().strip() == "$msg"'
        ),
    ),
    Family(
        name="errors.missing_key",
        do=(
            "look up <key> in <d> and return <k> on (a|) KeyError",
            "return <key> from <d>, catching (the|a) KeyError with <k>",
            "try to get <key> from <d> and return <k> on KeyError",
            "return the <key> of <d>, on KeyError return <k>",
            "catch the KeyError when reading <key> from <d> and return <k>",
            "try <d> at <key>, except KeyError gives <k>",
        ),
        say=(
            "function with try and except KeyError for <key> in <d>, <k> on error",
            "try except function: <key> of <d> or <k> on KeyError",
        ),
        fn="get_or_default",
        code='def $fn($d):\n    try:\n        return $d["$key"]\n    except KeyError:\n        return $k',
        check=calls('$fn({"$key": -7}) == -7', "$fn({}) == $k", '$fn({"z z": -1}) == $k'),
    ),
    Family(
        name="errors.custom",
        do=(
            "[make] (a|an own|a custom|my own) exception [called] $cls",
            "[make] (a|my own|a custom) error class $cls",
            "define (a|an|my own|a custom) exception $cls",
            "write a (custom|) exception class $cls",
            "[make] a class $cls that is an exception",
            "define an exception class [called] $cls",
        ),
        say=(
            "custom exception $cls",
            "exception class $cls",
            "own exception [called] $cls",
            "class $cls that inherits from Exception",
        ),
        code="class $cls(Exception):\n    pass",
        check=calls("issubclass($cls, Exception)", '$cls.__name__ == "$cls" and $cls is not Exception'),
    ),
    Family(
        name="errors.assert_positive",
        do=(
            "assert that $n is positive",
            "assert that $n is (greater|more|bigger) than zero",
            "assert $n above 0",
            "use assert to check that $n is positive",
            "make sure with an assert that $n is positive",
            "add an assert for $n being positive",
        ),
        say=("assert for positive $n", "assert $n positive", "an assertion that $n is above zero"),
        code="assert $n > 0",
        check="$n = 1\nexec(code, globals())\n$n = 0"
        + raises("AssertionError", "exec(code, globals())")
        + "\n$n = -5"
        + raises("AssertionError", "exec(code, globals())"),
    ),
    Family(
        name="errors.ignore",
        do=(
            "remove <k> from <nums> and ignore the error if it is not there",
            "remove <k> from <nums>, ignoring (a|) ValueError",
            "take <k> out of <nums> and do nothing if it is missing",
            "try to remove <k> from <nums> and pass on ValueError",
            "try to remove <k> from <nums> without an error if it is missing",
            "delete <k> from <nums>, catch the ValueError and pass",
        ),
        say=("try remove <k> from <nums>, except ValueError pass", "safe remove of <k> from <nums>"),
        code="try:\n    $nums.remove($k)\nexcept ValueError:\n    pass",
        check=leaves(("$nums = [0, $k, 200]", "$nums == [0, 200]"), ("$nums = [0]", "$nums == [0]")),
    ),
)
