"""How fast training learns, against the tutorial's way: nanoGPT's network, rows padded to the context, fp32, AdamW.

    make bench-train                                                  # both sizes, three seeds: an hour and a half
    make bench-train ARGS="--nanogpt ../nanoGPT"                      # against nanoGPT's own model.py
    make bench-train ARGS="--seconds 3 --seeds 1 --sizes tiny"        # a smoke test
    make bench-train ARGS=--ceiling                                   # instead: the processor's arithmetic used
    make bench-train ARGS=--service-overhead                          # instead: what the service costs a run

Every run has a process of its own; sides and seeds alternate. Seconds are the optimiser's, evaluation excluded. Losses
are nats per labelled token (a character of code, <EOS>) over all validation rows. Run nothing else on the machine.
Writes train.json, train.md and train.svg (ceiling.json, ceiling.md; service-overhead.json, service-overhead.md).
"""

import multiprocessing
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch

from benchmarks.ceiling import Ceiling, measure_ceiling
from benchmarks.curves import Curve, follow
from benchmarks.machine import machine
from benchmarks.reports import compact_json
from benchmarks.service_overhead import Timed, bare_run, service_run
from benchmarks.train_options import Options, as_settings, parse
from benchmarks.train_report import Run, Spread, compare, plot, table
from benchmarks.training_sides import SideName, Size, load_data, make_side
from tinygpt.durable import write_whole

P = ParamSpec("P")
T = TypeVar("T")


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
    """In the order in which they run. Sides alternate, so that a machine that slows down slows all of them."""
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
    report = {"settings": as_settings(options), "machine": machine()}
    for job in jobs(options):
        curve = _in_child(measure, options, job)
        runs.append(Run(job.side, job.size, job.seed, job.budget, curve))
        _say(
            f"{job.side}, {job.size}, seed {job.seed}, {job.budget:g} s: best {curve.best:.3f} nats, "
            f"{curve.tokens_per_second:,.0f} labelled tokens/s, {curve.cores_used} cores used"
        )
        # Written after every run, so that an interruption loses one at most.
        _write(options.out / "train.json", report | {"runs": [asdict(run) for run in runs]})
    comparisons = compare(runs)
    figures = [comparison.to_json() for comparison in comparisons]
    _write(options.out / "train.json", report | {"figures": figures, "runs": [asdict(run) for run in runs]})
    against = "nanoGPT's model.py" if options.nanogpt else "the network of `classic`"
    text = (
        f"Baseline: {against}, padded. {options.seconds:g} s of optimiser time, seeds: {options.seeds}. "
        f"{_described(machine())} {_disturbance(runs)}\n"
        f"Medians over the seeds (ranges); a ratio above 1 is in our favour.\n\n{table(comparisons)}"
    )
    write_whole(options.out / "train.md", text + "\n")
    plot(runs, options.out / "train.svg")
    _say(text)


def _disturbance(runs: Sequence[Run]) -> str:
    """Cores used, of all runs and of the run with the fewest: a low number means that the machine was busy."""
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
    """Bare and service runs alternate. The overhead is the difference within a pair."""
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


def _described(facts: dict[str, Any]) -> str:
    return f"{facts['processor']}, {facts['cores']} cores, torch {facts['packages']['torch']}, {facts['at'][:10]}."


def _finish(options: Options, name: str, measured: Sequence[dict[str, Any]], lines: str) -> None:
    facts = machine()
    _write(options.out / f"{name}.json", {"settings": as_settings(options), "machine": facts, "measured": measured})
    text = f"{options.throughput_seconds:g} s a run, seeds: {options.seeds}, medians. {_described(facts)}\n\n{lines}"
    write_whole(options.out / f"{name}.md", text + "\n")
    _say(text)


def _write(path: Path, report: dict[str, Any]) -> None:
    write_whole(path, compact_json(report))


def _say(text: str) -> None:
    print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments, __doc__)
    if options.ceiling:
        bench_ceiling(options)
    elif options.service_overhead:
        bench_service_overhead(options)
    else:
        bench_curves(options)


if __name__ == "__main__":
    main()
