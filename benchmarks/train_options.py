"""The command line of `bench_train.py`."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.training_sides import BASELINE_NETWORKS, Size
from tinygpt.data.bundled import bundled_rows
from tinygpt.durable import sha256_of


@dataclass(frozen=True)
class Options:
    """What the command line sets."""

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


def as_settings(options: Options) -> dict[str, Any]:
    """The options for a report, with files as their name and hash."""
    files = {name: getattr(options, name) for name in ("train", "val")}
    files["nanogpt"] = options.nanogpt / "model.py" if options.nanogpt else None
    described = {name: {"file": path.name, "sha256": sha256_of(path)} if path else None for name, path in files.items()}
    return {name: value for name, value in asdict(options).items() if name != "out"} | described


def parse(arguments: Sequence[str] | None, description: str | None) -> Options:
    """The options on the command line. Exits if they make no sense."""
    parser = argparse.ArgumentParser(
        prog="make bench-train ARGS=...", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
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
        help="our side also runs with these budgets; the smallest that ends below the baseline's best loss is the "
        "time to reach it; budgets of --seconds or more are left out (default: %(default)s)",
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
        help="rows to learn from (default: data/curated.jsonl)",
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
        help="folder for the reports (default: benchmarks/results)",
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
