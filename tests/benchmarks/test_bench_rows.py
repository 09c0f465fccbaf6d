"""`make bench-rows`, with few rows."""

import json
from pathlib import Path

from benchmarks.bench_rows import main


def test_it_measures_a_runs_data_and_steps_for_every_number_of_rows(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"

    main(["--rows", "100", "200", "--batches", "3", "--steps", "3", "--batch-size", "4", "--out", str(out)])

    measured = json.loads(out.read_text())["measured"]
    assert [one["rows"] for one in measured] == [100, 200]
    for one in measured:
        assert one["ran"]["first_step_seconds"] > 0
        assert one["ran"]["step_milliseconds"] > 0
        assert one["built"]["store_mib"] > 0
        assert one["drawn"]["batch_milliseconds"] > 0
