"""`tinygpt train`, as a person types it: what it says of the rows and of the run."""

import json
from pathlib import Path

from typer.testing import CliRunner

from tinygpt.cli import app
from tinygpt.data.rows import Row, write_rows
from tinygpt.model.checkpoint import load_checkpoint


def test_rows_that_the_context_cuts_or_has_no_room_for_are_told(tmp_path: Path) -> None:
    rows = [Row(f"add {i} to x", f"x + {i}") for i in range(60)]
    cut = [Row(f"long {i:02}", "x" * 40) for i in range(20)]
    left_out = [Row(f"long prompt without an end {i:02}" * 2, "x") for i in range(30)]
    write_rows(tmp_path / "rows.jsonl", rows + cut + left_out)
    options = ["--out", str(tmp_path / "run"), "--context-length", "32", "--batch-size", "8", "--max-steps", "2"]

    result = CliRunner().invoke(app, ["train", str(tmp_path / "rows.jsonl"), *options])

    assert result.exit_code == 0, result.output
    card = json.loads(next((tmp_path / "run" / "tokens").glob("*/card.json")).read_text())
    assert card["rows_cut"] > 0 < card["rows_left_out"]
    said = f"cuts {card['rows_cut']} training rows and leaves no room for the code of {card['rows_left_out']}"
    assert said in " ".join(result.output.split())
    assert load_checkpoint(tmp_path / "run" / "best.pt").training["step"] == 2
