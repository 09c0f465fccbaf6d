"""Machine code is kept for the next start; it is that of these sources, and of a folder that nobody else writes to."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tinygpt.compiled.cache import SOURCES

LIBRARY = Path(__file__).parents[2] / "shared"
CALL_A_KERNEL = """
from tinygpt.inference.sampling import uniform
print(uniform(3, 4))
print(sum(uniform.stats.cache_hits.values()))
"""
RESULT = "0.5687383539939183"


def start(cache: Path, library: Path = LIBRARY) -> tuple[bool, str]:
    """Call a kernel in a process of its own: whether its machine code was found in `cache`, and the log."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(library)}
    done = subprocess.run(
        [sys.executable, "-c", CALL_A_KERNEL], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    *log, result, hits = done.stdout.splitlines()
    assert result == RESULT
    return hits == "1", "\n".join(log)


def only_folder(cache: Path) -> Path:
    (folder,) = (cache / "tinygpt").iterdir()
    return folder


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("filled")
    assert start(cache) == (False, "")
    return cache


@pytest.fixture
def cache(filled: Path, tmp_path: Path) -> Iterator[Path]:
    """With the kernel's machine code in it."""
    cache = tmp_path / "cache"
    shutil.copytree(filled, cache)
    yield cache
    for folder in (cache / "tinygpt", *(cache / "tinygpt").iterdir()):
        folder.chmod(0o700)


def test_machine_code_is_found_at_the_next_start_in_a_folder_that_is_the_users_alone(cache: Path) -> None:
    assert start(cache) == (True, "")
    for folder in (cache / "tinygpt", only_folder(cache)):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_from_a_folder_that_cannot_be_written_to_it_is_read(cache: Path) -> None:
    only_folder(cache).chmod(0o500)
    (cache / "tinygpt").chmod(0o500)

    assert start(cache) == (True, "")


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_file_costs_one_compilation(cache: Path, suffix: str) -> None:
    (file,) = only_folder(cache).glob(f"*.{suffix}")
    file.write_bytes(file.read_bytes()[:100])

    found, log = start(cache)
    assert not found
    assert "kernel_cache_unreadable" in log
    assert start(cache) == (True, "")


def test_what_can_neither_be_read_nor_written_costs_a_compilation_every_time(cache: Path) -> None:
    (index,) = only_folder(cache).glob("*.nbi")
    index.unlink()
    index.mkdir()

    for _ in range(2):
        found, log = start(cache)
        assert not found
        assert "kernel_cache_not_written" in log


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777], ids=oct)
@pytest.mark.parametrize("inner", [False, True])
def test_what_others_could_have_written_is_not_run(cache: Path, mode: int, inner: bool) -> None:
    folder = only_folder(cache) if inner else cache / "tinygpt"
    folder.chmod(mode)

    found, log = start(cache)
    assert not found
    assert f"others may write to {folder}" in log
    folder.chmod(0o755)
    assert start(cache) == (True, "")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("inner", [False, True])
def test_what_somebody_else_owns_is_not_run(cache: Path, inner: bool) -> None:
    folder = only_folder(cache) if inner else cache / "tinygpt"
    os.chown(folder, 12345, 12345)

    found, log = start(cache)
    assert not found
    assert f"{folder} belongs to somebody else" in log


def test_where_there_is_no_place_for_it_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    found, log = start(tmp_path / "file")
    assert not found
    assert log.count("kernel_cache_unusable") == 1


def test_only_an_edit_to_what_kernels_are_made_of_compiles_them_anew(tmp_path: Path) -> None:
    library, cache = tmp_path / "library", tmp_path / "cache"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))

    def found_after_an_edit_to(file: str) -> bool:
        with (library / "tinygpt" / file).open("a") as source:
            source.write("\n# edited\n")
        return start(cache, library)[0]

    assert not found_after_an_edit_to("inference/sampling.py")
    assert found_after_an_edit_to("inference/engine.py")
    assert found_after_an_edit_to("model/ops/attention.py")
    assert not found_after_an_edit_to("compiled/lanes.py")
    assert not found_after_an_edit_to("data/tokenizer.py")


def test_every_file_that_kernels_are_made_of_is_among_the_sources_and_no_other() -> None:
    """Those that mark functions for compilation, and those from which such functions use a name."""
    package = LIBRARY / "tinygpt"
    needed = {f"compiled/{path.name}" for path in (package / "compiled").glob("*.py")}
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text())
        origin = {
            name.asname or name.name: node.module
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module
            for name in node.names
        }
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        for function in functions:
            marks = {mark.id for mark in function.decorator_list if isinstance(mark, ast.Name)}
            if any(origin.get(mark) == "tinygpt.compiled.jit" for mark in marks):
                needed.add(path.relative_to(package).as_posix())
                names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
                modules = {origin[name] for name in names if name in origin}
                needed |= {
                    module.removeprefix("tinygpt.").replace(".", "/") + ".py"
                    for module in modules
                    if module.startswith("tinygpt.")
                }
    assert needed == set(SOURCES)


def test_the_newest_three_older_versions_stay_and_foreign_files_are_left_alone(cache: Path) -> None:
    current = only_folder(cache).name
    os.utime(only_folder(cache), (0, 0))
    for age, name in enumerate(("notes", *(f"kernels-{i}" for i in range(5)))):
        folder = cache / "tinygpt" / name
        folder.mkdir()
        (folder / "file").touch()
        os.utime(folder, (1000 - age, 1000 - age))

    assert start(cache)[0]
    left = {folder.name for folder in (cache / "tinygpt").iterdir()}
    assert left == {current, "notes", "kernels-0", "kernels-1", "kernels-2"}
