"""Whether two texts are the same code."""

import pytest

from tinygpt.data.bundled import bundled_rows
from tinygpt.data.rows import read_rows
from tinygpt.evaluation.same_code import SameCode, normalised

CODE = "def total(xs):\n    return sum(x.size for x in xs if x.name != 'a b')"


@pytest.mark.parametrize(
    "same",
    [
        CODE,
        CODE.replace("    ", "\t"),
        CODE.replace("'", '"'),
        CODE + "  # of all\n",
        CODE.replace("x.size", "(x . size)"),
        CODE.replace("'a b'", "'a' ' b'"),
    ],
)
def test_spaces_quotes_brackets_and_comments_make_no_other_code(same: str) -> None:
    assert same in SameCode(["x + 1", CODE])
    assert CODE in SameCode([same, "x + 1"])


@pytest.mark.parametrize(
    "other", [CODE.replace("total", "all"), CODE.replace("'a b'", "'a'"), CODE.replace("size", "len"), "x + 1", "7", ""]
)
def test_other_names_and_constants_do(other: str) -> None:
    assert other not in SameCode([CODE, "def total(xs", "8"])


def test_what_is_no_python_is_the_same_where_its_text_is() -> None:
    codes = SameCode(["def total(xs", "+ +"])

    assert " def total(xs\n" in codes
    assert "+ +" in codes
    assert "total(xs" not in codes
    assert "+ + +" not in codes


def test_what_is_nested_too_deep_for_a_tree_is_compared_as_text() -> None:
    deep = "-" * 1500 + "x"  # Python parses it, but gives up on its tree as text

    assert deep in SameCode([deep + "\n", "x"])
    assert deep not in SameCode(["-" + deep])


def test_a_code_without_a_name_is_found_too() -> None:
    assert "( 1+2 )" in SameCode(["x + 1", "1 + 2"])
    assert "1000 if not 'a b' else None" in SameCode(["x", '1_000 if not "a b" else None'])
    assert "'a b'" not in SameCode(["'a c'", "'b' 'a'", "a or b"])


def test_a_name_that_python_reads_as_another_is_found() -> None:
    assert "\ufb01le + x" in SameCode(["file + x"])  # its first letter is a ligature
    assert "\ufb01le" in SameCode(["file"])


def test_it_is_as_if_all_trees_were_compared() -> None:
    rows = [row.code for row in read_rows(bundled_rows("bundled"))[::150]]
    known, asked = rows[::2], rows[1::2] + [code.replace(", ", ",") for code in rows[::4]]
    trees = {normalised(code) for code in known}

    same = SameCode(known)
    expected = [normalised(code) in trees for code in asked]

    assert [code in same for code in asked] == expected
    assert 0 < sum(expected) < len(expected)
