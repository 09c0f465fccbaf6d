"""`make mutants`: plant small bugs one at a time, run the tests that should notice, and print the score of each module.

Cosmic Ray makes the mutants and keeps what became of them: a session in `.mutants/` for each module, so that an
interrupted run goes on where it was. The checkout is not touched: each module is mutated in a copy.
"""

import argparse
import contextlib
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cosmic_ray.commands import execute, init
from cosmic_ray.config import ConfigDict
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, WorkerOutcome, WorkResult
from rich.console import Console
from rich.table import Table

from tests.mutants.operators import register
from tests.mutants.targets import TARGETS, Target
from tinygpt.durable import sha256_of

ROOT = Path(__file__).resolve().parents[2]
SESSIONS = ROOT / ".mutants"
PYTEST = ["-x", "-q", "-m", "not e2e", "--timeout", "60", "--tb", "no", "-W", "ignore"]
START_SECONDS = 300.0
LEAST_SECONDS = 30.0
"""A mutant has this long, or ten times what the tests take without one, before it counts as noticed."""


def main() -> None:
    arguments = _parsed()
    names = arguments.names or [target.name for target in TARGETS]
    unknown = set(names) - {target.name for target in TARGETS}
    if unknown:
        sys.exit(f"There is no {', '.join(sorted(unknown))}: choose among {' '.join(t.name for t in TARGETS)}.")
    register()
    SESSIONS.mkdir(exist_ok=True)
    for target in TARGETS:
        if target.name in names and not arguments.report:
            _test_mutants(target, arguments.sample)
    _report(names, show=arguments.survivors)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="modules; all of them if none is named")
    parser.add_argument("--sample", type=int, default=0, help="so many mutants of each module, the same every time")
    parser.add_argument("--survivors", action="store_true", help="print the mutants that no test noticed")
    parser.add_argument("--report", action="store_true", help="print what earlier runs found, and run nothing")
    return parser.parse_args()


def _test_mutants(target: Target, sample: int) -> None:
    with _copy_of_tree() as tree, _warm_pytest(target, tree) as command:
        started = time.monotonic()
        if subprocess.run(command, check=False).returncode != 0:
            sys.exit(f"The tests of {target.name} fail without a mutant: {' '.join(target.tests)}.")
        seconds = time.monotonic() - started
        files = sorted(path.relative_to(tree) for pattern in target.files for path in tree.glob(pattern))
        session = _session(target, sample, [tree / path for path in files])
        with contextlib.chdir(tree), use_db(str(session)) as db:
            if db.num_work_items == 0:
                _choose_mutants(target, db, files, sample)
            print(f"{target.name}: {db.num_work_items - db.num_results} mutants, tests of {seconds:.1f} s", flush=True)
            config = ConfigDict(
                {
                    "test-command": shlex.join(command),
                    "timeout": max(LEAST_SECONDS, 10 * seconds),
                    "distributor": {"name": "local"},
                }
            )
            execute(db, config)


def _session(target: Target, sample: int, files: list[Path]) -> Path:
    """Where the results are kept. Those of other files or of another sample are deleted."""
    session, stamp = SESSIONS / f"{target.name}.sqlite", SESSIONS / f"{target.name}.stamp"
    now = " ".join([str(sample), *(sha256_of(path) for path in files)])
    if not stamp.exists() or stamp.read_text() != now:
        session.unlink(missing_ok=True)
        stamp.write_text(now)
    return session


def _choose_mutants(target: Target, db: WorkDB, files: list[Path], sample: int) -> None:
    """Put the mutants of a target into `db`. Those that are not to be tried count as skipped."""
    operators = register()
    init(files, db, {})
    wanted = [item for item in db.work_items if _is_wanted(item.mutations[0], operators, target)]
    if 0 < sample < len(wanted):
        wanted.sort(key=lambda item: _place(item.mutations[0]))
        wanted = random.Random(0).sample(wanted, sample)
    chosen = {item.job_id for item in wanted}
    unwanted = [item.job_id for item in db.work_items if item.job_id not in chosen]
    db.set_multiple_results(unwanted, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))


def _is_wanted(mutation: MutationSpec, operators: frozenset[str], target: Target) -> bool:
    if _is_star_of_signature(mutation):
        return False
    is_constant = mutation.operator_name == "core/NumberReplacer" and mutation.definition_name is None
    return bool(mutation.operator_name in operators and (target.constants or not is_constant))


def _is_star_of_signature(mutation: MutationSpec) -> bool:
    """The bare `*` among parameters, which Cosmic Ray takes for a product."""
    line, column = mutation.start_pos
    lines = Path(mutation.module_path).read_text().splitlines()
    return bool(lines[line - 1].startswith("*,", column))


def _place(mutation: MutationSpec) -> tuple[str, str, int]:
    return str(mutation.module_path), mutation.operator_name, mutation.occurrence


@contextlib.contextmanager
def _copy_of_tree() -> Iterator[Path]:
    """A copy of what git knows, without compiled files, whose `data` is the checkout's."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    with tempfile.TemporaryDirectory(prefix="tinygpt-mutants-") as folder:
        tree = Path(folder)
        for name in filter(None, listed.stdout.decode().split("\0")):
            source, target = ROOT / name, tree / name
            if source.is_file() and not name.startswith("data/"):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
        (tree / "data").symlink_to(ROOT / "data")
        yield tree


@contextlib.contextmanager
def _warm_pytest(target: Target, tree: Path) -> Iterator[list[str]]:
    """Yields the command that runs the target's tests."""
    script = str(Path(__file__).with_name("warm_pytest.py"))
    tests = [str(path.relative_to(tree)) for pattern in target.tests for path in sorted(tree.glob(pattern))]
    environment = os.environ | target.environment
    environment |= {"PYTHONPATH": f"{tree}/shared{os.pathsep}{tree}", "PYTHONDONTWRITEBYTECODE": "1"}
    path = f"{tree}/pytest.socket"
    server = subprocess.Popen([sys.executable, script, "serve", path, *PYTEST, *tests], cwd=tree, env=environment)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not Path(path).exists():
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"pytest did not start for {target.name}.")
            time.sleep(0.05)
        yield [sys.executable, "-S", "-E", script, "run", path]
    finally:
        server.kill()
        server.wait()


def _report(names: list[str], *, show: bool) -> None:
    table = Table("module", "mutants", "noticed", "survived", "score")
    tried = noticed = 0
    for name in names:
        path = SESSIONS / f"{name}.sqlite"
        if not path.exists():
            continue
        with use_db(str(path)) as db:
            results = [r for _, r in db.results if r.worker_outcome == WorkerOutcome.NORMAL]
        survivors = [result for result in results if not result.is_killed]
        tried, noticed = tried + len(results), noticed + len(results) - len(survivors)
        table.add_row(name, *_figures(len(results), len(results) - len(survivors)))
        if show:
            print(*(result.diff for result in survivors), sep="\n\n")
    table.add_row("all", *_figures(tried, noticed))
    Console().print(table)


def _figures(tried: int, noticed: int) -> tuple[str, str, str, str]:
    return str(tried), str(noticed), str(tried - noticed), f"{noticed / tried:.1%}" if tried else "-"


if __name__ == "__main__":
    main()
