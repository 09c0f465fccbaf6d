"""Fixtures of the trackers' tests."""

import pytest

from tinygpt.training.tracking import background


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cold import of either package can outlast the limit."""
    monkeypatch.setattr(background, "_CLOSE_SECONDS", 100.0)
