"""Files that are not Python are in the wheel, and an installed wheel finds them."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READ_SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import redis
from tinygpt.runtime import transitions
assert transitions.__file__.startswith(sys.argv[1]), transitions.__file__
print(transitions.Transitions(redis.Redis())._script)
"""


def test_an_installed_wheel_has_the_script_of_the_transitions(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the build backend; `make install` brings it")
    tree = tmp_path / "tree"
    for folder in ("shared", "services"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (tree / "pyproject.toml").write_text(project, encoding="utf-8")
    wheel = tomllib.loads(project)["tool"]["hatch"]["build"]["targets"]["wheel"]
    for data in wheel.get("force-include", {}):  # their content doesn't matter here, and takes long to pack
        (tree / data).parent.mkdir(exist_ok=True)
        (tree / data).touch()
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=tree, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(tmp_path / "installed")
    read = [sys.executable, "-c", READ_SCRIPT, str(tmp_path / "installed")]
    script = subprocess.run(read, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert script.strip() == (ROOT / "shared/tinygpt/runtime/transition.lua").read_text(encoding="utf-8").strip()
