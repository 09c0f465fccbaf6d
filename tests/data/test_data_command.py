"""`tinygpt data build` hands its arguments to the data factory, where that is installed."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tinygpt.cli import app
from tinygpt.data import factory


def test_build_hands_its_options_to_the_factory(capfd: pytest.CaptureFixture[str]) -> None:
    result = CliRunner().invoke(app, ["data", "build", "--help"])

    assert result.exit_code == 0
    assert "Same seed, same files." in capfd.readouterr().out


def test_the_factory_s_exit_status_is_the_command_s(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = CliRunner().invoke(app, ["data", "build", "--rows", "5", "--out", str(tmp_path)])

    assert result.exit_code == 2
    assert "1000" in capfd.readouterr().err


def test_without_the_factory_build_says_so_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "_PACKAGE", "no_such_factory")
    result = CliRunner().invoke(app, ["data", "build"])

    assert result.exit_code == 1
    assert result.stderr.startswith("tinygpt: The data factory is not installed here")
