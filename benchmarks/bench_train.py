"""How fast training learns, against the tutorial's way: nanoGPT's network, rows padded to the context, fp32, AdamW.

    make bench-train                                                  # both sizes, three seeds: an hour and a half
    make bench-train ARGS="--nanogpt ../nanoGPT"                      # against nanoGPT's own model.py
    make bench-train ARGS="--seconds 3 --seeds 1 --sizes tiny"        # a smoke test
    make bench-train ARGS=--ceiling                                   # instead: the processor's arithmetic used
    make bench-train ARGS=--service-overhead                          # instead: what the service costs a run

Every run has a process of its own; sides and seeds alternate. Seconds are the optimiser's, evaluation excluded; losses
are nats per labelled token (a character of code, <EOS>) over all validation rows. Nothing else should run meanwhile.
Writes train.json, train.md and train.svg (ceiling.json, ceiling.md; service-overhead.json, service-overhead.md).
"""

import argparse
import importlib.metadata
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import psutil
import torch

from benchmarks.ceiling import Ceiling, measure_ceiling
from benchmarks.reports import compact_json
from benchmarks.service_overhead import Timed, bare_run, service_run
from benchmarks.train_report import Run, Spread, compare, plot, table
from benchmarks.training_sides import BASELINE_NETWORKS, Curve, SideName, Size, follow, load_data, make_side
from tinygpt.data.bundled import bundled_rows
from tinygpt.durable import sha256_of, write_whole

_ROOT = Path(__file__).resolve().parents[1]
_SHARED_TRAINING = _ROOT.parent / "shared" / "data" / "codealpaca-python.train.jsonl"
_SHARED_VALIDATION = _ROOT.parent / "shared" / "data" / "codealpaca-python.val.jsonl"
_PACKAGES = ("torch", "numpy", "tinygpt-stack")

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """The command line."""

    sizes: list[Size]
    seconds: float
    seeds: int
    short_budgets: list[float]
    throughput_seconds: float
    evaluations: int
    context_length: int
    threads: int | None
    nanogpt: Path | None
    train: Path
    val: Path | None
    out: Path
    ceiling: bool
    service_overhead: bool


@dataclass(frozen=True)
class Job:
    """One run to be measured."""

    side: SideName
    size: Size
    seed: int
    budget: float
    """Optimiser seconds."""
    evaluations: int


def jobs(options: Options) -> Iterator[Job]:
    """In the order in which they run: each side's share of a machine that slows down, or warms up, is the same."""
    short = [seconds for seconds in options.short_budgets if seconds < options.seconds]
    for seed in range(options.seeds):
        for size in options.sizes:
            yield Job("ours", size, seed, options.seconds, options.evaluations)
            yield Job("baseline", size, seed, options.seconds, options.evaluations)
            yield Job("same network", size, seed, min(options.seconds, options.throughput_seconds), 1)
            yield from (Job("ours", size, seed, seconds, 1) for seconds in short)


def measure(options: Options, job: Job) -> Curve:
    _use_threads(options)
    data = load_data(options.train, options.val, options.context_length)
    side = make_side(job.side, job.size, data, options.context_length, job.seed, options.nanogpt)
    return follow(side, job.budget, job.evaluations)


def bench_curves(options: Options) -> None:
    runs: list[Run] = []
    report = {"settings": _settings(options), "machine": machine()}
    for job in jobs(options):
        curve = _in_child(measure, options, job)
        runs.append(Run(job.side, job.size, job.seed, job.budget, curve))
        _say(
            f"{job.side}, {job.size}, seed {job.seed}, {job.budget:g} s: best {curve.best:.3f} nats, "
            f"{curve.tokens_per_second:,.0f} labelled tokens/s, {curve.cores_used} cores used"
        )
        # After every run: what is measured so far survives an interruption.
        _write(options.out / "train.json", report | {"runs": [asdict(run) for run in runs]})
    comparisons = compare(runs)
    figures = [comparison.to_json() for comparison in comparisons]
    _write(options.out / "train.json", report | {"figures": figures, "runs": [asdict(run) for run in runs]})
    against = "nanoGPT's model.py" if options.nanogpt else "the network of `classic`"
    text = (
        f"Baseline: {against}, padded. {options.seconds:g} s of optimiser time, seeds: {options.seeds}. "
        f"{_told(machine())} {_disturbance(runs)}\n"
        f"Medians over the seeds (ranges); a ratio above 1 is in our favour.\n\n{table(comparisons)}"
    )
    write_whole(options.out / "train.md", text + "\n")
    plot(runs, options.out / "train.svg")
    _say(text)


def _disturbance(runs: Sequence[Run]) -> str:
    """How much of the processor the run had that had least: little, and its figures are those of a busy machine."""
    least = min(runs, key=lambda run: run.curve.cores_used)
    return (
        f"Cores used: median {statistics.median(run.curve.cores_used for run in runs):.2f}, "
        f"least {least.curve.cores_used:.2f} ({least.side}, {least.size}, seed {least.seed}, {least.budget:g} s)."
    )


def bench_ceiling(options: Options) -> None:
    measured: list[tuple[Size, Ceiling]] = []
    for seed in range(options.seeds):
        for size in options.sizes:
            one = _in_child(_ceiling, options, size, seed)
            measured.append((size, one))
            _say(f"{size}, seed {seed}: {one}")
    lines = [
        "| size | matrix product, GFLOPS | step, ms | computed, GFLOPS | share | without padding, GFLOPS | share |",
        "|---|---|---|---|---|---|---|",
    ]
    for size in options.sizes:
        of_size = [one for of, one in measured if of == size]
        ceiling, step, computed, useful, computed_share, useful_share = (
            statistics.median(getattr(one, name) for one in of_size)
            for name in (
                *("ceiling_gflops", "step_milliseconds", "computed_gflops", "useful_gflops"),
                *("computed_share", "useful_share"),
            )
        )
        lines.append(
            f"| {size} | {ceiling:,.0f} | {step:,.1f} "
            f"| {computed:,.0f} | {computed_share:.1%} | {useful:,.0f} | {useful_share:.1%} |"
        )
    rows = [{"size": size, **asdict(one)} for size, one in measured]
    _finish(options, "ceiling", rows, "\n".join(lines))


def bench_service_overhead(options: Options) -> None:
    """Bare and service runs by turns; the overhead is that of a pair."""
    rows: list[dict[str, Any]] = []
    lines = [
        "| size | bare, ms a step | service, ms a step | overhead, % | without evaluations and their checkpoints, % |",
        "|---|---|---|---|---|",
    ]
    for size in options.sizes:
        pairs: list[tuple[Timed, Timed]] = []
        for seed in range(options.seeds):
            bare = _in_child(_timed, bare_run, options, size, seed)
            service = _in_child(_timed, service_run, options, size, seed)
            pairs.append((bare, service))
            rows.append({"size": size, "seed": seed, "bare": asdict(bare), "service": asdict(service)})
            _say(f"{size}, seed {seed}: bare {bare}, service {service}")
        overhead = Spread.of(100 * (s.seconds_a_step / b.seconds_a_step - 1) for b, s in pairs)
        between = Spread.of(100 * (s.seconds_a_step_between_evaluations / b.seconds_a_step - 1) for b, s in pairs)
        milliseconds = [
            1000 * statistics.median(one.seconds_a_step for one in side) for side in zip(*pairs, strict=True)
        ]
        lines.append(
            f"| {size} | {milliseconds[0]:.1f} | {milliseconds[1]:.1f} "
            f"| {overhead.median:.1f} ({overhead.low:.1f} to {overhead.high:.1f}) "
            f"| {between.median:.1f} ({between.low:.1f} to {between.high:.1f}) |"
        )
    _finish(options, "service-overhead", rows, "\n".join(lines))


def _ceiling(options: Options, size: Size, seed: int) -> Ceiling:
    _use_threads(options)
    data = load_data(options.train, options.val, options.context_length)
    return measure_ceiling(size, data, options.context_length, seed, options.throughput_seconds)


def _timed(run: Callable[[Path, Size, int, int, float], Timed], options: Options, size: Size, seed: int) -> Timed:
    _use_threads(options)
    return run(options.train, size, options.context_length, seed, options.throughput_seconds)


def _use_threads(options: Options) -> None:
    if options.threads is not None:
        torch.set_num_threads(options.threads)


def _in_child(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as child:
        return child.submit(function, *arguments, **named).result()


# -- what goes into the reports


def machine() -> dict[str, Any]:
    """What the figures depend on beside the code."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "bf16": torch.cpu._is_avx512_bf16_supported(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "load_average": os.getloadavg(),
        "environment": {name: value for name, value in os.environ.items() if name.startswith(("OMP_", "MKL_", "KMP_"))},
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _told(facts: dict[str, Any]) -> str:
    return f"{facts['processor']}, {facts['cores']} cores, torch {facts['packages']['torch']}, {facts['at'][:10]}."


def _settings(options: Options) -> dict[str, Any]:
    """The command line, with files as their name and hash."""
    files = {name: getattr(options, name) for name in ("train", "val")}
    files["nanogpt"] = options.nanogpt / "model.py" if options.nanogpt else None
    described = {name: {"file": path.name, "sha256": sha256_of(path)} if path else None for name, path in files.items()}
    return {name: value for name, value in asdict(options).items() if name != "out"} | described


def _finish(options: Options, name: str, measured: Sequence[dict[str, Any]], lines: str) -> None:
    facts = machine()
    _write(options.out / f"{name}.json", {"settings": _settings(options), "machine": facts, "measured": measured})
    text = f"{options.throughput_seconds:g} s a run, seeds: {options.seeds}, medians. {_told(facts)}\n\n{lines}"
    write_whole(options.out / f"{name}.md", text + "\n")
    _say(text)


def _write(path: Path, report: dict[str, Any]) -> None:
    write_whole(path, compact_json(report))


def _say(text: str) -> None:
    print(text, flush=True)


# -- the command line


def _parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="make bench-train ARGS=...", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", type=_sizes, default="tiny,small", help="tiny, small, or both with a comma (default: both)"
    )
    parser.add_argument(
        "--seconds",
        type=_positive,
        default=300.0,
        metavar="S",
        help="optimiser seconds of a run; the schedules end with it (default: 300)",
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each side (default: %(default)s)")
    parser.add_argument(
        "--short-budgets",
        type=_budgets,
        default="10,15,20,30",
        metavar="S,S",
        help="our side also runs with these budgets, of which the smallest that ends below the baseline's best loss is "
        "the time to reach it; those not below --seconds are left out (default: %(default)s)",
    )
    parser.add_argument(
        "--throughput-seconds",
        type=_positive,
        default=60.0,
        metavar="S",
        help="length of the runs that measure speed alone: our loop on the baseline's network, --ceiling and "
        "--service-overhead (default: 60)",
    )
    parser.add_argument(
        "--evaluations", type=int, default=15, metavar="N", help="points of a curve (default: %(default)s)"
    )
    parser.add_argument("--context-length", type=int, default=512, metavar="N", help="tokens (default: %(default)s)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's choice)")
    parser.add_argument(
        "--nanogpt",
        type=Path,
        metavar="PATH",
        help="a checkout of karpathy/nanoGPT, whose model.py is then the baseline's network (default: `classic`'s)",
    )
    parser.add_argument(
        "--train",
        type=Path,
        metavar="JSONL",
        help=f"rows to learn from (default: {_SHARED_TRAINING.name} in ../shared/data if it is there, else "
        "data/curated.jsonl)",
    )
    parser.add_argument(
        "--val",
        type=Path,
        metavar="JSONL",
        help="rows to score on; --train without --val is split by its prompts, as in a run",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent / "results",
        metavar="FOLDER",
        help="where the reports go (default: benchmarks/results)",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--ceiling",
        action="store_true",
        help="measure instead: what a 2048^3 bf16 matrix product reaches, and the share of it in a training step",
    )
    instead.add_argument(
        "--service-overhead",
        action="store_true",
        help="measure instead: a run as the trainer makes it (Redis, events, checkpoints, evaluations, TensorBoard) "
        "against its steps alone",
    )
    parsed = parser.parse_args(arguments)
    if min(parsed.seeds, parsed.evaluations, parsed.context_length) < 1:
        parser.error("--seeds, --evaluations and --context-length must be at least 1")
    if parsed.val is not None and parsed.train is None:
        parser.error("--val needs --train")
    for path in (parsed.train, parsed.val, parsed.nanogpt and parsed.nanogpt / "model.py"):
        if path is not None and not path.is_file():
            parser.error(f"{path} is not there")
    if parsed.train is None and _SHARED_TRAINING.exists():
        parsed.train, parsed.val = _SHARED_TRAINING, _SHARED_VALIDATION
    parsed.train = parsed.train or bundled_rows("curated")
    return Options(**vars(parsed))


def _sizes(text: str) -> list[Size]:
    known: dict[str, Size] = {size: size for size in BASELINE_NETWORKS}
    try:
        return [known[name.strip()] for name in text.split(",")]
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"{error} is not one of {', '.join(known)}") from error


def _positive(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return seconds


def _budgets(text: str) -> list[float]:
    return [_positive(part) for part in text.split(",") if part.strip()]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    if options.ceiling:
        bench_ceiling(options)
    elif options.service_overhead:
        bench_service_overhead(options)
    else:
        bench_curves(options)


if __name__ == "__main__":
    main()
