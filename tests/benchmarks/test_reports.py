"""The JSON of every benchmark: a line per record, and nothing that JSON has no number for."""

import json
import math

import pytest

from benchmarks.reports import compact_json


def test_a_report_has_a_line_per_record_and_reads_as_it_was() -> None:
    report = {"settings": {"seconds": 1.0, "sizes": ["tiny"]}, "runs": [{"a": [1, 2]}, {"a": []}], "problems": []}

    text = compact_json(report)

    assert json.loads(text) == report
    assert text.splitlines() == [
        "{",
        '"settings": {"seconds": 1.0, "sizes": ["tiny"]},',
        '"runs": [',
        ' {"a": [1, 2]},',
        ' {"a": []}',
        "],",
        '"problems": []',
        "}",
    ]


def test_a_figure_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError):
        compact_json({"ratio": math.nan})
