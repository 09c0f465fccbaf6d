"""Logs: one event a line, and nothing of a prompt at info level."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from tinygpt.http.request_id import add_request_id
from tinygpt.runtime.logging import configure_logging


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_every_record_is_one_line_of_json_with_service_and_run(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("trainer", format="json", level="info", extra=[add_request_id])
    structlog.contextvars.bind_contextvars(run_id="r-1")
    structlog.get_logger().info("ours", step=3, text="two\nlines")
    logging.getLogger("some.library").warning("theirs %s", "too")
    try:
        raise ValueError("a bug")
    except ValueError:
        structlog.get_logger().exception("met")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["ours", "theirs too", "met"]
    assert all(line["service"] == "trainer" and line["run_id"] == "r-1" for line in lines)
    assert all({"level", "timestamp"} <= line.keys() for line in lines)
    assert (lines[0]["step"], lines[0]["text"]) == (3, "two\nlines")
    assert "ValueError: a bug" in lines[2]["exception"]


def test_less_than_the_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("gateway", format="json", level="warning")
    structlog.get_logger().info("quiet")
    logging.getLogger("some.library").info("quiet too")
    structlog.get_logger().warning("loud")
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == ["loud"]


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_trace_never_shows_the_values_of_variables(capsys: pytest.CaptureFixture[str], format: str) -> None:
    configure_logging("gateway", format="console" if format == "console" else "json", level="info")

    def answer(prompt: str) -> None:
        raise RuntimeError(f"no answer for {len(prompt)} characters")

    try:
        answer("a secret " + "wish")
    except RuntimeError:
        structlog.get_logger().exception("bug")
    logged = capsys.readouterr().out
    assert "no answer for 13 characters" in logged
    assert "secret wish" not in logged


def test_requests_that_other_libraries_make_are_not_logged_at_info(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("gateway", format="json", level="info")
    for name in ("httpx", "httpcore", "rq.worker"):
        logging.getLogger(name).info("chatter")
    assert capsys.readouterr().out == ""
