"""Settings: every one documented, and an invalid one is named in a sentence."""

import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from services.gateway.__main__ import main as gateway_main
from services.gateway.settings import GatewaySettings
from services.model_server.settings import ModelServerSettings
from services.trainer.settings import TrainerSettings
from tinygpt.runtime.settings import ENV_PREFIX, Settings, load_settings

EXAMPLE = Path(__file__).parents[2] / ".env.example"
KINDS: tuple[type[Settings], ...] = (Settings, TrainerSettings, ModelServerSettings, GatewaySettings)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No setting of this machine, no `.env` of this checkout; and logging as it was."""
    for name in list(os.environ):
        if name.startswith(ENV_PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger(), "handlers", logging.getLogger().handlers)
    yield
    structlog.reset_defaults()


def _fields() -> dict[str, FieldInfo]:
    return {ENV_PREFIX + name.upper(): field for kind in KINDS for name, field in kind.model_fields.items()}


def _as_written(default: Any) -> str:
    match default:
        case None:
            return ""
        case SecretStr():
            return default.get_secret_value()
        case tuple():
            return ",".join(default)
        case bool():
            return str(default).lower()
        case float() if default.is_integer():
            return f"{default:g}"
        case _:
            return str(default)


def _listed() -> dict[str, str]:
    """`NAME=value` of every line, commented out or not, up to what only compose and the installation read."""
    services, _, _ = EXAMPLE.read_text().partition("# --- Compose")
    lines = (line.lstrip("# ").rstrip() for line in services.splitlines())
    return {
        name: value.split(" #")[0].strip()
        for name, _, value in (line.partition("=") for line in lines if line.startswith(ENV_PREFIX))
    }


def test_env_example_lists_every_setting_with_its_default_and_nothing_else() -> None:
    listed = _listed()
    fields = _fields()
    assert sorted(listed) == sorted(fields)
    for name, field in fields.items():
        assert listed[name] in {_as_written(field.default), str(field.default)}, name


@pytest.mark.parametrize("kind", KINDS)
def test_env_example_as_it_stands_is_the_defaults(kind: type[Settings], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(EXAMPLE.read_text())
    assert kind().model_dump() == kind(_env_file=None).model_dump()


def test_every_setting_says_what_it_means() -> None:
    assert [name for name, field in _fields().items() if not field.description] == []


def test_the_environment_comes_before_env_and_env_before_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("TINYGPT_MAX_QUEUE=7\nTINYGPT_MAX_IN_FLIGHT=3\n")
    monkeypatch.setenv("TINYGPT_MAX_QUEUE", "9")
    settings = load_settings(GatewaySettings)
    assert (settings.max_queue, settings.max_in_flight, settings.gateway_port) == (9, 3, 8000)


def test_the_process_runner_of_make_run_leaves_that_order_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that `make run` starts, with a service that says what it is given."""
    would_run = subprocess.run(["make", "-n", "run"], cwd=EXAMPLE.parent, capture_output=True, text=True, check=True)
    (runner,) = (line for line in would_run.stdout.splitlines() if "honcho" in line)
    honcho, *options = shlex.split(runner, comments=True)
    (tmp_path / ".env").write_text("TINYGPT_MAX_QUEUE=7\n")
    (tmp_path / "Procfile").write_text("service: echo given $TINYGPT_MAX_QUEUE.\n")
    monkeypatch.setenv("TINYGPT_MAX_QUEUE", "9")

    output = subprocess.run(
        [EXAMPLE.parent / honcho, *options], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )

    assert "given 9." in output.stdout


def test_an_empty_value_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGPT_MAX_QUEUE", "")
    assert load_settings(GatewaySettings).max_queue == 128


def test_model_servers_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGPT_MODEL_SERVER_URLS", "http://a:1/, http://b:2")
    assert load_settings(GatewaySettings).model_server_urls == ("http://a:1", "http://b:2")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TINYGPT_GATEWAY_PORT", "http"),
        ("TINYGPT_GATEWAY_PORT", "99999"),
        ("TINYGPT_REQUEST_TIMEOUT", "-1"),
        ("TINYGPT_LOG_LEVEL", "loud"),
        ("TINYGPT_MODEL_SERVER_URLS", "model:8001"),
        ("TINYGPT_QUICK_START", "perhaps"),
        ("TINYGPT_REDIS_URL", "localhost:6379"),
        ("TINYGPT_RATE_LIMIT", "many"),
        ("TINYGPT_API_KEYS", "key:fly"),
    ],
)
def test_a_bad_value_is_one_sentence_with_the_variable_and_exit_2(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as exit_:
        gateway_main()
    output = capsys.readouterr().err
    assert exit_.value.code == 2
    assert output.count("\n") == 1
    assert name in output
    assert ".env.example" in output


def test_several_bad_values_are_a_sentence_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TINYGPT_GATEWAY_PORT", "http")
    monkeypatch.setenv("TINYGPT_MAX_QUEUE", "-1")
    with pytest.raises(SystemExit):
        load_settings(GatewaySettings)
    output = capsys.readouterr().err.splitlines()
    assert len(output) == 2
    assert all(name in " ".join(output) for name in ("TINYGPT_GATEWAY_PORT", "TINYGPT_MAX_QUEUE"))


def test_a_bad_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TINYGPT_API_KEYS", "s3cret:fly")
    with pytest.raises(SystemExit):
        gateway_main()
    assert "s3cret" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("service", ["gateway", "model_server", "trainer"])
def test_a_service_with_a_bad_setting_ends_with_that_sentence_alone(service: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        env={"PATH": "", "TINYGPT_REDIS_URL": "localhost:6379"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("TINYGPT_REDIS_URL='localhost:6379' can't be used: ")
    assert ended.stderr.count("\n") == 1
