"""How runs lie in Redis: the names of the keys, and a record as a hash with a JSON value per field.

`tinygpt:run:<id>` (hash), `tinygpt:runs` (all, by time of creation), `tinygpt:runs:active` (not yet ended),
`tinygpt:events:<id>` (stream), `tinygpt:lease:<id>`, `tinygpt:idempotency:<key>` (a run's id).
"""

import json
from collections.abc import Mapping
from typing import Any

from tinygpt.contracts.runs import RunRecord

ALL_RUNS = "tinygpt:runs"
ACTIVE_RUNS = "tinygpt:runs:active"


def run_key(run_id: str) -> str:
    return f"tinygpt:run:{run_id}"


def events_key(run_id: str) -> str:
    return f"tinygpt:events:{run_id}"


def idempotency_redis_key(key: str) -> str:
    return f"tinygpt:idempotency:{key}"


def to_fields(values: Mapping[str, Any]) -> dict[Any, str]:
    return {name: json.dumps(value) for name, value in values.items()}


def from_fields(fields: Mapping[str, str]) -> RunRecord:
    """Ignores fields that a record does not have: `enqueued_at`, and those of a newer version."""
    return RunRecord.model_validate({name: json.loads(value) for name, value in fields.items()}, extra="ignore")
