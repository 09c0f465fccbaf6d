"""The report of `bench_decode.py`: medians and ranges over the repetitions, ratios to the best peer, tables."""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.decoding_cells import REFERENCE, Agreement, Decoded
from benchmarks.serving_cells import CLIENTS, Served, StartUp
from benchmarks.train_report import Spread

_NEVER_FALLS = 0.97
"""Tokens a second with more clients relative to fewer. A smaller fall counts as noise."""


@dataclass(frozen=True)
class Share:
    """The share that a cell reached of what the machine could do at best."""

    model: str
    streams: int
    side: str
    reached: float
    ceiling: float
    unit: str

    @property
    def share(self) -> float:
        return self.reached / self.ceiling


@dataclass(frozen=True)
class Results:
    """Everything that was measured."""

    agreements: Sequence[Agreement] = ()
    decoded: Sequence[Decoded] = ()
    served: Sequence[Served] = ()
    shares: Sequence[Share] = ()
    start_ups: Sequence[StartUp] = ()


@dataclass(frozen=True)
class Goal:
    """A figure and the minimum that it should have, or with `at_most` the maximum."""

    what: str
    figure: Spread
    limit: float
    unit: str
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.figure.median <= self.limit if self.at_most else self.figure.median >= self.limit


def is_ours(side: str) -> bool:
    return side.startswith("ours")


def speeds(decoded: Sequence[Decoded], model: str, streams: int) -> dict[str, dict[int, float]]:
    """Tokens a second of each side by repetition."""
    found: dict[str, dict[int, float]] = {}
    for one in decoded:
        if (one.model, one.streams) == (model, streams):
            found.setdefault(one.side, {})[one.repetition] = one.speed.tokens_a_second
    return found


def best(speeds_of: dict[str, dict[int, float]], matches: Callable[[str], bool]) -> str | None:
    """The side with the highest median."""
    names = [name for name in speeds_of if matches(name)]
    return max(names, key=lambda name: Spread.of(speeds_of[name].values()).median, default=None)


def ratio(ours: dict[int, float], theirs: dict[int, float]) -> Spread:
    """Ratios within each repetition. A side that was measured less often is compared by its last."""
    last = theirs[max(theirs)]
    return Spread.of(value / theirs.get(repetition, last) for repetition, value in ours.items())


def goals(results: Results) -> list[Goal]:
    """The goals for which there are figures."""
    found = [*_goals_of_streams(results.decoded), *_goals_of_serving(results.served)]
    for model, streams in dict.fromkeys((one.model, one.streams) for one in results.shares):
        of_cell = [one for one in results.shares if (one.model, one.streams) == (model, streams)]
        largest = max(of_cell, key=lambda one: one.share)
        what = f"share of the ceiling, {streams} streams, {model}: {largest.side}"
        found.append(Goal(what, _single(largest.share), 0.5, ""))
    for kernels, seconds in (("cached", 2.0), ("compiled anew", 10.0)):
        for model in dict.fromkeys(one.model for one in results.start_ups):
            times = [one.seconds for one in results.start_ups if (one.model, one.kernels) == (model, kernels)]
            what = f"checkpoint to first token, {model}, kernels {kernels}"
            found.append(Goal(what, Spread.of(times), seconds, "s", at_most=True))
    return found


def _goals_of_streams(decoded: Sequence[Decoded]) -> Iterable[Goal]:
    limits: dict[bool, list[tuple[str, float]]] = {
        True: [("CTranslate2", 1.5), ("llama.cpp", 3.0), ("transformers", 20.0)],
        False: [("CTranslate2", 2.0)],
    }
    for model, streams in dict.fromkeys((one.model, one.streams) for one in decoded):
        of_cell = speeds(decoded, model, streams)
        ours = best(of_cell, is_ours)
        for peer, limit in limits[streams == 1]:
            theirs = best(of_cell, lambda name, peer=peer: name.startswith(peer))  # type: ignore[misc]
            if ours and theirs:
                what = f"{streams} streams, {model}: {ours} over {theirs}"
                yield Goal(what, ratio(of_cell[ours], of_cell[theirs]), limit, "x")


def _goals_of_serving(served: Sequence[Served]) -> Iterable[Goal]:
    for model in dict.fromkeys(one.model for one in served):
        for clients in CLIENTS:
            ours, theirs = (_by_repetition(served, model, side, clients) for side in ("ours", "llama.cpp"))
            if ours and theirs:
                yield Goal(f"HTTP, {model}, {clients} clients, over llama.cpp", ratio(ours, theirs), 4.0, "x")
        own = [one for one in served if one.model == model and one.side == "ours"]
        first = [1000 * one.first_token_p99_seconds for one in own if one.first_token_p99_seconds is not None]
        if first:
            yield Goal(f"first token p99, {model}, 32 clients", Spread.of(first), 50.0, "ms", at_most=True)
        http = [one.main_thread_milliseconds for one in own if one.main_thread_milliseconds is not None]
        if http:
            what = f"processor time of HTTP and JSON for an answer, {model}"
            yield Goal(what, Spread.of(http), 1.0, "ms", at_most=True)
        counts = sorted({one.clients for one in own})
        medians = [Spread.of(_by_repetition(served, model, "ours", count).values()).median for count in counts]
        growth = min((b / a for a, b in itertools.pairwise(medians)), default=1.0)
        yield Goal(f"tokens/s as clients grow, {model}, least step", _single(growth), _NEVER_FALLS, "x")
        yield Goal(f"requests lost, {model}", _single(sum(one.lost for one in own)), 0.0, "", at_most=True)
        in_turn = [[one.resident_mib for one in own if one.repetition == r] for r in {one.repetition for one in own}]
        what = f"memory after the last load over that after the first, {model}"
        yield Goal(what, Spread.of(of_one[-1] / of_one[0] for of_one in in_turn), 1.2, "x", at_most=True)


def _by_repetition(served: Sequence[Served], model: str, side: str, clients: int) -> dict[int, float]:
    """Tokens a second of whole answers."""
    return {
        one.repetition: one.tokens_a_second
        for one in served
        if (one.model, one.side, one.clients) == (model, side, clients) and one.first_token_p99_seconds is None
    }


def _single(value: float) -> Spread:
    return Spread(value, value, value)


# -- markdown


def markdown(results: Results) -> str:
    parts = [
        _section("Goals", _goal_table(results)),
        _section("Greedy texts that equal those of our PyTorch decoder", _agreement_table(results.agreements)),
    ]
    for streams in dict.fromkeys(one.streams for one in results.decoded):
        title = "One stream, one core" if streams == 1 else f"{streams} streams, all cores"
        parts.append(_section(f"{title}, tokens/s", _speed_table(results.decoded, streams)))
    parts += [
        _section("Over HTTP, 64-token answers", _serving_table(results.served)),
        _section("Share of the ceiling", _share_table(results.shares)),
        _section("Start-up", _start_up_table(results.start_ups)),
    ]
    return "\n\n".join(part for part in parts if part)


def _section(title: str, table: str) -> str:
    return f"### {title}\n\n{table}" if table else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines]) if lines else ""


def _goal_table(results: Results) -> str:
    rows = []
    for goal in goals(results):
        sign = "at most" if goal.at_most else "at least"
        limit = f"{sign} {goal.limit:g} {goal.unit}".strip()
        rows.append((goal.what, formatted(goal.figure, 2), limit, "met" if goal.met else "not met"))
    return _table(("figure", "measured", "goal", ""), rows)


def _agreement_table(agreements: Sequence[Agreement]) -> str:
    return _table(
        ("model", "side", "equal texts", "others that turn at a near tie", "first difference after"),
        (
            (
                one.model,
                one.side,
                f"{one.equal} of {one.texts}",
                str(one.near_ties),
                _or_dash(one.first_difference, " tokens"),
            )
            for one in agreements
            if one.side != REFERENCE
        ),
    )


def _speed_table(decoded: Sequence[Decoded], streams: int) -> str:
    models = list(dict.fromkeys(one.model for one in decoded if one.streams == streams))
    by_model = {model: speeds(decoded, model, streams) for model in models}
    names = list(dict.fromkeys(name for model in models for name in by_model[model]))
    rows = []
    for name in names:
        row = [name]
        for model in models:
            of_cell = by_model[model]
            ours = best(of_cell, is_ours)
            if name not in of_cell or ours is None:
                row += ["-", "-"]
                continue
            row += [formatted(Spread.of(of_cell[name].values()), 0), formatted(ratio(of_cell[ours], of_cell[name]), 2)]
        rows.append(row)
    head = ["side", *(column for model in models for column in (model, "our best is x times as fast"))]
    return _table(head, rows)


def _serving_table(served: Sequence[Served]) -> str:
    groups: dict[tuple[str, int, bool, str], list[Served]] = {}
    for one in served:
        key = (one.model, one.clients, one.first_token_p99_seconds is not None, one.side)
        groups.setdefault(key, []).append(one)
    rows = []
    for (model, clients, streamed, side), ones in sorted(groups.items(), key=lambda item: (item[0][0], *item[0][1:])):
        http = [one.main_thread_milliseconds for one in ones if one.main_thread_milliseconds is not None]
        first = [1000 * one.first_token_p99_seconds for one in ones if one.first_token_p99_seconds is not None]
        rows.append(
            (
                model,
                f"{clients}{', streamed' if streamed else ''}",
                f"{side} ({ones[0].setting})" if ones[0].setting else side,
                formatted(Spread.of(one.tokens_a_second for one in ones), 0),
                formatted(Spread.of(1000 * one.median_seconds for one in ones), 0),
                formatted(Spread.of(1000 * one.p99_seconds for one in ones), 0),
                formatted(Spread.of(first), 0) if first else "-",
                f"{statistics.median(one.cores_used for one in ones):.2f}",
                formatted(Spread.of(http), 2) if http and side == "ours" else "-",
                str(sum(one.lost for one in ones)),
                formatted(Spread.of(one.resident_mib for one in ones), 0),
            )
        )
    head = ("model", "clients", "side", "tokens/s", "median, ms", "p99, ms", "first token p99, ms")
    return _table((*head, "cores used", "event loop, ms an answer", "lost", "resident, MiB"), rows)


def _share_table(shares: Sequence[Share]) -> str:
    return _table(
        ("model", "streams", "side", "reached", "ceiling", "share"),
        (
            (
                one.model,
                str(one.streams),
                one.side,
                f"{one.reached:,.1f} {one.unit}",
                f"{one.ceiling:,.1f} {one.unit}",
                f"{one.share:.0%}",
            )
            for one in shares
        ),
    )


def _start_up_table(start_ups: Sequence[StartUp]) -> str:
    groups: dict[tuple[str, str], list[float]] = {}
    for one in start_ups:
        groups.setdefault((one.model, one.kernels), []).append(one.seconds)
    return _table(
        ("model", "kernels", "seconds to the first token"),
        ((model, kernels, formatted(Spread.of(seconds), 2)) for (model, kernels), seconds in groups.items()),
    )


def formatted(spread: Spread, decimals: int) -> str:
    median, low, high = (
        f"{value:,.{decimals}f}" if math.isfinite(value) else "never"
        for value in (spread.median, spread.low, spread.high)
    )
    return median if low == high else f"{median} ({low} to {high})"


def _or_dash(value: object, unit: str) -> str:
    return "-" if value is None else f"{value}{unit}"
