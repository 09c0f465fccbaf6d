"""What a run's data costs as rows grow: preparing them once, opening them, drawing batches, starting a run, stepping.

    make bench-rows                                      # 1k to 1M synthetic rows
    make bench-rows ARGS="--rows 1000 10000"

Each size is measured in a process of its own. Memory is the growth during the measurement: `own` belongs to the process
alone, `mapped` are pages of the store's files, which the system takes back when it needs them.
"""

import argparse
import itertools
import multiprocessing
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.reports import compact_json
from tinygpt.contracts.runs import Progress
from tinygpt.data.rows import Row, write_rows
from tinygpt.durable import write_whole
from tinygpt.training.batches import collate, endless_batches
from tinygpt.training.callbacks import Callback
from tinygpt.training.config import PRESETS
from tinygpt.training.run import train
from tinygpt.training.token_store import TokenStore
from tinygpt.training.token_writer import prepare_tokens

_MIB = 2**20
_VERBS = ("add", "append", "compare", "count", "join", "remove", "reverse", "sort", "split", "swap")


@dataclass(frozen=True)
class Built:
    seconds: float
    peak_mib: float
    """The process's largest resident memory beyond what it had before."""
    store_mib: float


@dataclass(frozen=True)
class Drawn:
    open_seconds: float
    """Time to open the store."""
    first_batch_seconds: float
    """From there to the first batch, including the lengths and the epoch's order."""
    batch_milliseconds: float
    """The mean of the batches after the first."""
    padding: float
    """The share of the batches' positions that is padding."""
    own_mib_opened: float
    mapped_mib_opened: float
    own_mib_drawn: float
    mapped_mib_drawn: float


@dataclass(frozen=True)
class Ran:
    """A run of some steps of `quick-start`."""

    first_step_seconds: float
    """From opening the store to the end of the first step: which n-grams are frequent, the model and kernels included.
    """
    step_milliseconds: float
    """The median of the steps after the first."""


@dataclass(frozen=True)
class Measured:
    rows: int
    built: Built
    drawn: Drawn
    ran: Ran


def synthetic_rows(count: int) -> Iterator[Row]:
    """Rows with prompts of their own and 10 to 250 characters of code."""
    rng = random.Random(0)
    for i in range(count):
        steps = (f"value_{rng.randrange(100)} = {rng.choice(_VERBS)}(items, {i})" for _ in range(rng.randint(1, 8)))
        prompt = f"{rng.choice(_VERBS)} the items of list {i} and {rng.choice(_VERBS)} them"
        yield Row(prompt, "\n".join(steps)[: rng.randint(10, 250)])


def build(rows: Path, folder: Path, context_length: int) -> Built:
    before = _own_mib() + _mapped_mib()
    started = time.perf_counter()
    _store(rows, folder, context_length)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / _MIB
    return Built(round(seconds, 3), round(peak, 1), round(size, 2))


def draw(rows: Path, folder: Path, context_length: int, batch_size: int, count: int) -> Drawn:
    own, mapped = _own_mib(), _mapped_mib()
    started = time.perf_counter()
    store = _store(rows, folder, context_length)
    opened = time.perf_counter()
    own_opened, mapped_opened = _own_mib() - own, _mapped_mib() - mapped
    now = time.perf_counter()
    order = endless_batches(store.training.lengths, batch_size, seed=0)
    batches = (
        [collate([store.training[i] for i in group.tolist()], context_length) for group in groups] for groups in order
    )
    positions = padded = 0
    first = None
    for batch in islice(batches, count):
        first = first or time.perf_counter()
        positions += sum(group.ids.numel() for group in batch)
        padded += sum(int((group.ids == 0).sum()) for group in batch)
    ended = time.perf_counter()
    assert first is not None
    return Drawn(
        open_seconds=round(opened - started, 4),
        first_batch_seconds=round(first - now, 4),
        batch_milliseconds=round((ended - first) / max(1, count - 1) * 1000, 3),
        padding=round(padded / positions, 3),
        own_mib_opened=round(own_opened, 1),
        mapped_mib_opened=round(mapped_opened, 1),
        own_mib_drawn=round(_own_mib() - own, 1),
        mapped_mib_drawn=round(_mapped_mib() - mapped, 1),
    )


class _Clock(Callback):
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step(self, _progress: Progress) -> None:
        self.times.append(time.perf_counter())


def run(rows: Path, folder: Path, context_length: int, batch_size: int, steps: int) -> Ran:
    preset = PRESETS["quick-start"]
    model = replace(preset.model, context_length=context_length)
    config = replace(preset, model=model, batch_size=batch_size, max_steps=steps, max_seconds=None, evaluations=1)
    clock = _Clock()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        train(config, _store(rows, folder, context_length), [clock], folder=Path(name))
    median = statistics.median(later - earlier for earlier, later in itertools.pairwise(clock.times))
    return Ran(round(clock.times[0] - started, 2), round(median * 1000, 1))


def _store(rows: Path, folder: Path, context_length: int) -> TokenStore:
    """As the service does it: the content of the file is known from its dataset's name."""
    return prepare_tokens(rows, folder, context_length=context_length, source_hash="benchmark")


def _own_mib() -> float:
    memory = psutil.Process().memory_info()
    return float(memory.rss - getattr(memory, "shared", 0)) / _MIB


def _mapped_mib() -> float:
    return float(getattr(psutil.Process().memory_info(), "shared", 0)) / _MIB


def measure(count: int, context_length: int, batch_size: int, batches: int, steps: int) -> Measured:
    processes = ProcessPoolExecutor(
        max_workers=1, max_tasks_per_child=1, mp_context=multiprocessing.get_context("spawn")
    )
    with tempfile.TemporaryDirectory(prefix="tinygpt-rows-") as name, processes:
        rows, folder = Path(name) / "rows.jsonl", Path(name) / "tokens"
        write_rows(rows, synthetic_rows(count))
        built = processes.submit(build, rows, folder, context_length).result()
        drawn = processes.submit(draw, rows, folder, context_length, batch_size, batches).result()
        ran = processes.submit(run, rows, folder, context_length, batch_size, steps).result()
    return Measured(count, built, drawn, ran)


def table_of(measured: list[Measured]) -> Table:
    table = Table("rows", "build s", "peak MiB", "store MiB", "open s", "first batch s", "batch ms", "padding")
    table.add_column("opened: own + mapped MiB")
    table.add_column("drawn: own + mapped MiB")
    table.add_column("first step s")
    table.add_column("step ms")
    for column in table.columns:
        column.justify = "right"
    for one in measured:
        built, drawn, ran = one.built, one.drawn, one.ran
        table.add_row(
            f"{one.rows:,}",
            *map(str, (built.seconds, built.peak_mib, built.store_mib)),
            *map(str, (drawn.open_seconds, drawn.first_batch_seconds, drawn.batch_milliseconds, drawn.padding)),
            f"{drawn.own_mib_opened} + {drawn.mapped_mib_opened}",
            f"{drawn.own_mib_drawn} + {drawn.mapped_mib_drawn}",
            *map(str, (ran.first_step_seconds, ran.step_milliseconds)),
        )
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="make bench-rows ARGS=...", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000], metavar="N")
    parser.add_argument("--batches", type=int, default=200, help="batches to draw (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=60, help="steps of a run (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="rows in a batch (default: %(default)s)")
    parser.add_argument("--context-length", type=int, default=256, help="tokens (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "rows.json")
    options = parser.parse_args(arguments)
    measured = []
    for count in options.rows:
        measured.append(measure(count, options.context_length, options.batch_size, options.batches, options.steps))
        Console(width=170).print(table_of(measured))
    settings = {name: getattr(options, name) for name in ("batches", "steps", "batch_size", "context_length")}
    report = {"settings": settings, "measured": [asdict(one) for one in measured]}
    write_whole(options.out, compact_json(report))


if __name__ == "__main__":
    main()
