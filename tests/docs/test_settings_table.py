"""The README and `.env.example` describe every setting in the words of the code."""

import re
from pathlib import Path

from services.gateway.settings import GatewaySettings
from services.model_server.settings import ModelServerSettings
from services.trainer.settings import TrainerSettings
from tests.docs.pages import ROOT
from tinygpt.runtime.settings import ENV_PREFIX, Settings

KINDS: tuple[type[Settings], ...] = (Settings, TrainerSettings, ModelServerSettings, GatewaySettings)
ROW = re.compile(r"^\| `(TINYGPT_\w+)` \| (?:`(.*?)`)? ?\| (.*) \|$", re.MULTILINE)
EXAMPLE = re.compile(r"((?:^# .*\n)+)^#(TINYGPT_\w+)=(.*)$", re.MULTILINE)


def _descriptions() -> dict[str, str | None]:
    return {ENV_PREFIX + name.upper(): field.description for kind in KINDS for name, field in kind.model_fields.items()}


def _example() -> dict[str, tuple[str, str]]:
    """Name -> (default, description) of `.env.example`."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    return {
        name: (default, " ".join(line.removeprefix("# ") for line in comment.splitlines()))
        for comment, name, default in EXAMPLE.findall(text)
    }


def _readme(page: Path = ROOT / "README.md") -> dict[str, tuple[str, str]]:
    """Name -> (default, description) of the README's table."""
    return {name: (default, meaning) for name, default, meaning in ROW.findall(page.read_text(encoding="utf-8"))}


def test_env_example_describes_each_setting_as_the_code_does() -> None:
    example = _example()
    assert {name: example[name][1] for name in _descriptions()} == _descriptions()


def test_the_readmes_table_of_settings_is_env_example() -> None:
    assert _readme() == _example()
