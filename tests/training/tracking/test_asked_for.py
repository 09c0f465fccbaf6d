"""Tracking as a person asks for it: by the command's option and by the trainer's setting."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.trainer import __main__ as trainer
from services.trainer.settings import TrainerSettings
from tests.training.tracking.followed import (
    STEP_VALUES,
    needs_mlflow,
    needs_wandb,
    points_of,
    their_own_warnings,
    train_command,
)
from tests.training.tracking.wandb_files import wandb_history
from tinygpt.cli import app
from tinygpt.contracts.errors import TrainingFailed
from tinygpt.data.rows import Row, write_rows
from tinygpt.runtime.settings import load_settings
from tinygpt.training.tracking import TrackerName, check_installed


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [Row(f"add {i} to x", f"x + {i}") for i in range(60)])
    return path


def test_the_command_leaves_event_files_in_the_runs_folder(tmp_path: Path, rows: Path) -> None:
    result = CliRunner().invoke(app, train_command(rows, tmp_path / "run", "--max-steps", "20"))

    assert result.exit_code == 0, result.output
    points = points_of(tmp_path / "run")
    assert set(points) == STEP_VALUES | {"loss/validation"}
    assert sorted(points["loss/train"]) == [10, 20]
    assert all(0 < loss < 10 for loss in points["loss/train"].values())


@pytest.mark.parametrize("name", list(TrackerName))
def test_a_missing_package_is_one_sentence_that_names_the_extra(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch, name: TrackerName
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    result = CliRunner().invoke(app, train_command(rows, tmp_path / "run", "--track", name))

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert f"deploy/install .venv -e '.[{name}]'" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_folder_of_the_packages_name_is_not_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B leaves one wherever it ran."""
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(TrainingFailed):
        check_installed([TrackerName.WANDB])


def test_the_trainers_setting_has_commas_between_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGPT_TRAINER_TRACK", "mlflow, wandb")
    assert load_settings(TrainerSettings).trainer_track == (TrackerName.MLFLOW, TrackerName.WANDB)


def test_an_unknown_tracker_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TINYGPT_TRAINER_TRACK", "wandb,comet")
    with pytest.raises(SystemExit, match="2"):
        load_settings(TrainerSettings)
    errors = capsys.readouterr().err
    assert errors.startswith("TINYGPT_TRAINER_TRACK='wandb,comet' can't be used: ")
    assert "wandb, mlflow" in errors


def test_the_trainer_does_not_start_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGPT_TRAINER_TRACK", "wandb")
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(trainer, "configure_logging", lambda *_args, **_options: None)
    with pytest.raises(SystemExit, match=r"The trainer can't start: .*\[wandb\]"):
        trainer.main()


@needs_wandb
@needs_mlflow
@their_own_warnings
def test_the_command_tracks_with_both(tmp_path: Path, rows: Path, patient: None) -> None:
    command = train_command(rows, tmp_path / "run", "--max-steps", "20", "--track", "wandb", "--track", "mlflow")
    result = CliRunner().invoke(app, command)

    assert result.exit_code == 0, result.output
    assert "tracking failed" not in result.output
    assert sorted(points_of(tmp_path / "run")["loss/train"]) == [10, 20]
    assert sorted(step for step, values in wandb_history(tmp_path / "run").items() if "loss/train" in values) == [
        10,
        20,
    ]
    assert (tmp_path / "mlflow.db").exists()
