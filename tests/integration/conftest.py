"""One running stack for all tests here; a test that breaks a part of it mends it again."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.integration.stack import Stack

_VOLUME_MB = 2048


@pytest.fixture(scope="session")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """A small file system to fill up; None where it can't be mounted."""
    folder = tmp_path_factory.mktemp("volume")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_VOLUME_MB}m", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("mount"):
        yield None
        return
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        yield None
        return
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def stack(small_disk: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Redis, trainer, model server and gateway, with no model yet."""
    running = Stack(small_disk or tmp_path_factory.mktemp("volume"), tmp_path_factory.mktemp("stack"))
    try:
        running.start("redis")
        running.start("trainer")
        running.start("model_server")
        running.start("gateway")
        yield running
    finally:
        running.close()


@pytest.fixture(scope="session")
def first_model(stack: Stack) -> str:
    """The run whose model is served first."""
    run_id = stack.train(promote="always", seed=1)
    record = stack.wait_for_state(run_id, "succeeded", "failed")
    assert record["state"] == "succeeded", record["error"]
    wait_until(lambda: stack.serving() == run_id, "the model server serves the first model")
    return run_id
