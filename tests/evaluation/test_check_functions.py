"""What a check may call: an answer runs by itself, given only the variables that the check names."""

import random
from typing import Any

import pytest

from tinygpt.evaluation.jail.answer import answer_value, check_functions, evaluate, printed, result, run_answer
from tinygpt.evaluation.sandbox import run_check


@pytest.mark.parametrize(
    ("code", "names", "expected"),
    [
        ("lst[::-1]", {"lst": [1, 2]}, [2, 1]),
        ("import math\nmath.sqrt(n)", {"n": 9}, 3.0),
        ("lst.append(4)", {"lst": [1]}, [1, 4]),
        ("lst.pop()", {"lst": [1, 2]}, [1]),
        ("lst.sort()", {"lst": [2, 1]}, [1, 2]),
        ("a, b = b, a", {"a": 1, "b": 2}, (2, 1)),
        ("x = 5", {}, 5),
        ("total = 0\nfor x in lst:\n    total += x", {"lst": [1, 2]}, 3),
        ("def is_even(n):\n    return n % 2 == 0", {"n": 4}, True),
        ("def swap(second, first):\n    return second - first", {"first": 1, "second": 5}, 4),
        ("def drop(items):\n    items.pop()", {"lst": [1, 2]}, [1]),
        ("lambda x: x + 1", {"x": 1}, 2),
        ("map(str, lst)", {"lst": [1, 2]}, ["1", "2"]),
        ("d.keys()", {"d": {"a": 1}}, ["a"]),
        ("range(3)", {}, [0, 1, 2]),
    ],
)
def test_the_result_is_what_someone_would_take_it_for(code: str, names: dict[str, Any], expected: Any) -> None:
    assert result(code, **names) == expected


@pytest.mark.parametrize("code", ["math.sqrt(n)", "json", "print(n)", "", "for i in range(n):\n    pass"])
def test_an_answer_that_misses_an_import_or_a_value_gives_nothing(code: str) -> None:
    try:
        outcome = result(code, n=9)
    except NameError:
        return
    assert outcome is None


def test_a_function_without_variables_is_given_back_uncalled() -> None:
    assert result("def add(a, b):\n    return a + b")(2, 3) == 5


def test_the_variables_of_the_check_are_never_changed() -> None:
    numbers = [3, 1]

    assert result("numbers.sort()", numbers=numbers) == [1, 3]
    assert numbers == [3, 1]


def test_what_is_printed_is_told_without_white_space_at_its_end() -> None:
    assert printed("print(name)\nprint()", name="Ann") == "Ann"


def test_modules_of_the_check_are_no_help_to_the_answer() -> None:
    with pytest.raises(NameError, match="random"):
        answer_value("random.random()", {"random": random, "code": ""})
    with pytest.raises(NameError, match="random"):
        run_answer("x = random.random()", {"random": random})


def test_what_an_answer_binds_is_there_for_the_check() -> None:
    scope: dict[str, Any] = {"n": 4}

    run_answer("import math\nhalf = n // 2", scope)

    assert scope["half"] == 2


def test_an_answer_may_not_take_the_place_of_what_the_check_calls() -> None:
    with pytest.raises(NameError, match="run_answer"):
        run_answer("def run_answer(code, scope):\n    pass", {})


def test_a_value_needs_an_expression_in_the_last_line() -> None:
    assert evaluate("x = 2\nx * 3", {}) == 6
    with pytest.raises(SyntaxError, match="last line"):
        evaluate("x = 2", {})


def test_eval_of_a_check_takes_an_answer_of_several_lines() -> None:
    namespace: dict[str, Any] = {"code": "import math\nmath.floor(n)", "n": 2.5}
    namespace |= check_functions(namespace)

    exec("assert eval(code) == 2\nassert eval('n + 1') == 3.5", namespace)


@pytest.mark.parametrize(
    ("code", "passed"), [("import math\nmath.sqrt(x)", True), ("math.sqrt(x)", False), ("x ** 0.5", True), ("x", False)]
)
def test_the_judge_offers_them_to_checks(code: str, passed: bool) -> None:
    verdict = run_check(code, "import math\nassert result(code, x=9) == 3")

    assert verdict.passed is passed
