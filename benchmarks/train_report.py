"""The report of `bench_train.py`: medians and ranges over the seeds, a table, a plot."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.curves import Curve
from benchmarks.training_sides import SideName, Size

NOT_REACHED = math.inf
_COLOURS: dict[SideName, str] = {"ours": "tab:blue", "baseline": "tab:orange"}


@dataclass(frozen=True)
class Run:
    """One job and its curve."""

    side: SideName
    size: Size
    seed: int
    budget: float
    """Optimiser seconds in which the schedule ends."""
    curve: Curve


@dataclass(frozen=True)
class Spread:
    """Median and range over the seeds. The median is `NOT_REACHED` if half of them or more did not reach the loss."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[-1])

    def to_json(self) -> dict[str, float | None]:
        """The values, null for `NOT_REACHED`."""
        return {name: value if math.isfinite(value) else None for name, value in vars(self).items()}


@dataclass(frozen=True)
class Comparison:
    """One figure of one size. Ratios are taken between runs with the same seed; above 1, ours is better."""

    size: Size
    what: str
    baseline: Spread
    ours: Spread
    ratio: Spread
    decimals: int

    def to_json(self) -> dict[str, Any]:
        spreads = {name: getattr(self, name).to_json() for name in ("baseline", "ours", "ratio")}
        return {"size": self.size, "what": self.what, **spreads}


BEST_LOSS = "best validation loss, nats per labelled token"
TOKENS = "labelled tokens/s"
TOKENS_SAME_NETWORK = "labelled tokens/s, our loop on the baseline's network"
SECONDS_TO_BEST = "seconds to the baseline's best loss"


def compare(runs: Sequence[Run]) -> list[Comparison]:
    """Every figure of every size in `runs`."""
    comparisons = []
    for size in dict.fromkeys(run.size for run in runs):
        of_size = [run for run in runs if run.size == size]
        seeds = sorted({run.seed for run in of_size})
        baseline = [_longest(of_size, "baseline", seed).curve for seed in seeds]
        ours = [_longest(of_size, "ours", seed).curve for seed in seeds]
        same = [_longest(of_size, "same network", seed).curve for seed in seeds]
        reached = [
            seconds_to_reach(loss.best, [run for run in of_size if run.side == "ours" and run.seed == seed])
            for seed, loss in zip(seeds, baseline, strict=True)
        ]
        speeds = [curve.tokens_per_second for curve in baseline]
        figures: list[tuple[str, list[float], list[float], Callable[[float, float], float], int]] = [
            (BEST_LOSS, [curve.best for curve in baseline], [curve.best for curve in ours], _less_is_better, 3),
            (TOKENS, speeds, [curve.tokens_per_second for curve in ours], _more_is_better, 0),
            (TOKENS_SAME_NETWORK, speeds, [curve.tokens_per_second for curve in same], _more_is_better, 0),
            (SECONDS_TO_BEST, [curve.seconds_to_best for curve in baseline], reached, _less_is_better, 1),
        ]
        for what, theirs, own, ratio, decimals in figures:
            ratios = [ratio(a, b) for a, b in zip(theirs, own, strict=True)]
            comparisons.append(Comparison(size, what, Spread.of(theirs), Spread.of(own), Spread.of(ratios), decimals))
    return comparisons


def seconds_to_reach(loss: float, runs: Sequence[Run]) -> float:
    """The fewest optimiser seconds at which one of `runs` has a loss of at most `loss`.

    A run with a short budget gets there earlier, because its learning rate has already fallen.
    """
    reached = (seconds for run in runs for seconds, at in run.curve.points if at <= loss)
    return min(reached, default=NOT_REACHED)


def _longest(runs: Sequence[Run], side: SideName, seed: int) -> Run:
    return max((run for run in runs if run.side == side and run.seed == seed), key=lambda run: run.budget)


def _more_is_better(baseline: float, ours: float) -> float:
    return ours / baseline


def _less_is_better(baseline: float, ours: float) -> float:
    return baseline / ours  # 0 if ours did not reach it


def table(comparisons: Sequence[Comparison]) -> str:
    """Markdown."""
    lines = ["| size | figure | baseline | ours | ratio |", "|---|---|---|---|---|"]
    for one in comparisons:
        baseline, ours = _formatted(one.baseline, one.decimals), _formatted(one.ours, one.decimals)
        lines.append(f"| {one.size} | {one.what} | {baseline} | {ours} | {_formatted(one.ratio, 2)} |")
    return "\n".join(lines)


def _formatted(spread: Spread, decimals: int) -> str:
    median, low, high = (
        f"{value:,.{decimals}f}" if math.isfinite(value) else "not reached"
        for value in (spread.median, spread.low, spread.high)
    )
    return median if low == high else f"{median} ({low} to {high})"


def plot(runs: Sequence[Run], path: Path) -> None:
    """Loss over seconds: a panel per size, a line per run, and dots for the ends of short budgets."""
    # Imported here, because the processes that measure do not need it.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    sizes = list(dict.fromkeys(run.size for run in runs))
    longest = max(run.budget for run in runs)
    figure = Figure(figsize=(5.5 * len(sizes), 4), layout="constrained")
    for axes, size in zip(np.ravel(figure.subplots(1, len(sizes), squeeze=False)), sizes, strict=True):
        labelled = set()
        for run in runs:
            if run.size != size or run.side not in _COLOURS:
                continue
            kind = f"{run.side}, short budgets" if run.budget < longest else str(run.side)
            style = "o" if run.budget < longest else "-"
            points = run.curve.points[-1:] if run.budget < longest else run.curve.points
            seconds, losses = zip(*points, strict=True)
            label = None if kind in labelled else kind
            axes.plot(seconds, losses, style, color=_COLOURS[run.side], label=label, alpha=0.7, markersize=4)
            labelled.add(kind)
        axes.set(title=size, xlabel="optimiser seconds", ylabel="validation loss, nats per labelled token")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
    with mpl.rc_context({"svg.hashsalt": "tinygpt", "svg.fonttype": "none"}):  # text, not outlines of letters
        figure.savefig(path, metadata={"Date": None})
