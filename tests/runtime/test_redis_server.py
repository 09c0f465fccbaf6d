"""The embedded Redis: which binary is taken."""

import os
from pathlib import Path

import pytest

from tinygpt.runtime.redis_server import redis_binary


def pretend_version(folder: Path, version: str) -> Path:
    binary = folder / "redis-server"
    binary.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=00000000:0 malloc=jemalloc bits=64'\n")
    binary.chmod(0o755)
    return binary


@pytest.mark.parametrize(("version", "taken"), [("6.0.16", False), ("6.2.0", True), ("7.0.15", True)])
def test_a_redis_on_the_path_is_taken_if_it_is_recent_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, taken: bool
) -> None:
    binary = pretend_version(tmp_path, version)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    assert (redis_binary() == str(binary)) is taken
