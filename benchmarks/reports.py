"""How benchmarks write their JSON: one line per record, so that two reports can be read and compared by line."""

import json
from typing import Any


def compact_json(report: dict[str, Any]) -> str:
    """A line per key of `report`, and a line per record of a list of records. Raises `ValueError` for NaN."""
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {_lines(value)}" for name, value in report.items()) + "\n}\n"


def _lines(value: Any) -> str:
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(f" {_line(record)}" for record in value) + "\n]"
    return _line(value)


def _line(value: Any) -> str:
    return json.dumps(value, allow_nan=False)
