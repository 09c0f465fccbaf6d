"""Repair of generated code: what parses is left alone, the rest is closed or cut, and nothing is run."""

import ast
import contextlib
import gc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data.rows import read_rows
from tinygpt.inference.postprocess import PostProcessed, closers, loops, parses, post_process_code

# `1or 2` and the like are deprecated Python, and ast.parse warns about them.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")

CURATED = Path(__file__).resolve().parents[2] / "data" / "curated.jsonl"
CODES = [row.code for row in read_rows(CURATED)[::40]]
fragments = st.lists(
    st.sampled_from(
        [
            *"()[]{}:,.+=\\#'\"\n\t 1x",
            '"""',
            "'''",
            'f"',
            "f'{",
            "    ",
            "def f(x):",
            "return",
            "if x:",
            "else:",
            "for",
            "in",
        ]
    ),
    max_size=25,
).map("".join)
truncated = st.sampled_from(CODES).flatmap(lambda code: st.integers(0, len(code)).map(lambda end: code[:end]))


@given(fragments | truncated | st.text())
def test_the_result_parses_or_is_empty(text: str) -> None:
    result = post_process_code(text)

    if result.code:
        assert ast.parse(result.code).body
        assert result.repaired == (result.code != text)


@given(
    fragments | st.sampled_from(CODES), st.sampled_from(["", "\n", "\n\n"]), st.sampled_from(["", " ", "\n", " \n\t\n"])
)
def test_text_that_parses_is_unchanged_but_for_outer_blank_lines_and_trailing_space(
    code: str, before: str, after: str
) -> None:
    text = before + code + after
    if parses(code):
        assert post_process_code(text).code == code.strip("\n").rstrip()


@given(truncated)
def test_a_repair_starts_as_the_text_did(text: str) -> None:
    """A closed text is kept whole; a cut one keeps its first lines."""
    result = post_process_code(text).code

    kept = text.strip("\n").rstrip()
    while result and not result.startswith(kept):
        assert "\n" in kept
        kept = kept.rpartition("\n")[0].rstrip()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nums[::-1", "nums[::-1]"),
        ("sorted(nums, key=lambda n: (n % 2, n", "sorted(nums, key=lambda n: (n % 2, n))"),
        ("{'a': [1, 2", "{'a': [1, 2]}"),
        ("foo(a, ", "foo(a,)"),
        ('print("hello', 'print("hello")'),
        ("print('it\\'s", "print('it\\'s')"),
        ("x = '(['", "x = '(['"),
        ("f('([', [1", "f('([', [1])"),
        ('x = """two\nlines', 'x = """two\nlines"""'),
        ("f('''it's \"quoted\"", "f('''it's \"quoted\"''')"),
        ('def f():\n    """Says', 'def f():\n    """Says"""'),
        ('print(f"hi {name}', 'print(f"hi {name}")'),
        ("x = [1,  # one (\n     2", "x = [1,  # one (\n     2]"),
        ("x = [1, 2  # it's two", "x = [1, 2  # it's two\n]"),
    ],
)
def test_open_brackets_and_quotes_are_closed(text: str, code: str) -> None:
    assert post_process_code(text) == PostProcessed(code, repaired=code != text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("def f(x):\n    return x\n\ndef g(", "def f(x):\n    return x"),
        ("x = 1\nif x:", "x = 1"),
        ("x = 1\ny = = 2\nz = 3", "x = 1"),
        ("if x:\n    y = 1\nelse:", "if x:\n    y = 1"),
        ("x = 1\n)", "x = 1"),
        ("x = 1\n(]", "x = 1"),
        ("x = 'one\ny = 2", "x = 'one'"),
        ('x = 1\nprint(f"{', "x = 1"),
        ("x = 1\n\n\n", "x = 1"),
    ],
)
def test_what_cannot_be_closed_is_cut_back_to_the_last_complete_statement(text: str, code: str) -> None:
    assert post_process_code(text) == PostProcessed(code, repaired=True)


@pytest.mark.parametrize("text", ["", "   ", "\n\n", "# only a comment", ")", "def", "f(]", "\0", "\ud800", "(" * 5000])
def test_what_cannot_be_saved_is_empty_and_never_raises(text: str) -> None:
    assert post_process_code(text).code == ""


@pytest.mark.parametrize("times", [100, 1000, 4000, 20_000])
@pytest.mark.parametrize("begin", ["-", "not ", "1 + ", "lambda: ", "1 if 1 else ", "print ", "[", "f(", "{1: "])
def test_nesting_too_deep_is_no_python_and_never_raises(begin: str, times: int) -> None:
    text = begin * times + "1"

    code = post_process_code(text).code

    assert parses(code) or (code == "" and not parses(text))
    assert times < 20_000 or code == ""


def test_a_parse_that_another_one_interrupts_never_raises() -> None:
    """CPython 3.11 may collect garbage while it parses. If a finalizer parses too, that is a `SystemError`."""

    class Parses:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            with contextlib.suppress(SystemError):
                ast.parse("1")

    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(20):
            Parses()
            assert parses(f"[{'a + b, ' * 500}{number}]") in (True, False)
    finally:
        gc.set_threshold(*thresholds)


@pytest.mark.parametrize("form", ["{}", "({}", "{}\n)", "x = f'{{{}}}'", "@{}\ndef f(): pass", "assert {}, ("])
def test_the_code_is_never_run(tmp_path: Path, form: str) -> None:
    trace = tmp_path / "was here"

    post_process_code(form.format(f"open({str(trace)!r}, 'w')".replace("'", '"')))

    assert not trace.exists()


def test_a_long_text_that_never_parses_is_given_up_on() -> None:
    assert post_process_code("x = = 1\n" * 4000).code == ""


def test_nothing_is_closed_if_nothing_is_open() -> None:
    assert [closers(code) for code in ("f(x)", "x  # (", "'('", '"""("""', "")] == [""] * 5


@pytest.mark.parametrize("text", ["x" * 20, "0, " * 20, "a = [" + "nums, " * 10, "    \n    pass\n" * 5])
def test_a_text_that_ends_in_repetition_loops(text: str) -> None:
    assert loops(text)


@pytest.mark.parametrize(
    "text", ["", "xxxx", "x" * 19, " " * 50, "nums[::-1]", "a, b, c, d, e", "[0, 0, 0, 0, 0, 0, 0]"]
)
def test_a_text_that_is_short_or_ends_otherwise_does_not_loop(text: str) -> None:
    assert not loops(text)


def test_no_curated_code_loops_or_is_repaired() -> None:
    codes = [row.code for row in read_rows(CURATED)]

    assert [code for code in codes if loops(code) or post_process_code(code).repaired] == []
