"""A sandbox to attack, and the proof after every test that the attack left nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from tests.conftest import wait_until
from tinygpt.evaluation.sandbox import Sandbox


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def home_of(sandbox: Sandbox) -> Path:
    """Where its working folders are made."""
    return Path(sandbox._home.name)


def nothing_is_left(sandbox: Sandbox) -> bool:
    """No working folder, and no process below the helpers."""
    helpers = [psutil.Process(helper._process.pid) for helper in sandbox._helpers if helper.alive()]
    return not list(home_of(sandbox).iterdir()) and not any(helper.children(recursive=True) for helper in helpers)


@pytest.fixture(scope="package")
def shared_sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Iterator[Sandbox]:
    """Afterwards: this process is unharmed, the folder is gone, no process is left, and the next check is judged."""
    before = (os.getcwd(), os.getpid())  # noqa: PTH109
    yield shared_sandbox
    assert (os.getcwd(), os.getpid()) == before  # noqa: PTH109
    wait_until(lambda: nothing_is_left(shared_sandbox), "the attack's processes and folders are gone", 5)
    assert shared_sandbox.run("1 + 1", "assert eval(code) == 2").passed
