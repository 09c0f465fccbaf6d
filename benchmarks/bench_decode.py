"""How fast ours generates, compared with its peers: same weights, prompts, sampling and cores, in one run.

    make bench-decode ARGS="--nanogpt ../nanoGPT --llama-server .../llama-server"    # everything: half an hour
    make bench-decode                                                                # without those two
    make bench-decode ARGS=--quick                                                   # two minutes: does it all work?
    make bench-decode ARGS="--only http,start-up --sizes tiny"                       # some cells

Greedy texts are compared first. benchmarks/README.md says how each side is measured, and in what the sides differ.
Run nothing else on the machine. Writes decode.json and decode.md.
"""

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.decode_report import Results, Share, markdown, speeds
from benchmarks.decoding_ceiling import BYTES_A_WEIGHT, product_gflops, read_gigabytes_a_second
from benchmarks.decoding_cells import Model, compare_texts, measure_cell, sides
from benchmarks.decoding_exports import export_ctranslate2, export_gguf, export_hugging_face, export_onnx
from benchmarks.decoding_models import (
    NETWORKS,
    PROMPT_CHARACTERS,
    STEPS,
    flops_a_token,
    make_checkpoint,
    matrix_parameters,
    prompts,
)
from benchmarks.decoding_sides import CHECKPOINT, CTRANSLATE2, GGUF, HUGGING_FACE, ONNX, OURS
from benchmarks.machine import machine
from benchmarks.reports import compact_json
from benchmarks.serving_cells import serve, start_up
from tinygpt.durable import write_whole
from tinygpt.model.checkpoint import load_checkpoint

CELLS = ("streams", "presets", "http", "start-up")
_NEW_TOKENS = 200
_PROMPT_TOKENS = PROMPT_CHARACTERS + 2
_STREAMS = 32
_PROMPTS = 64


@dataclass(frozen=True)
class Options:
    """The command line."""

    sizes: list[str]
    only: list[str]
    ours: list[str]
    cores: list[int]
    seconds: float
    http_seconds: float
    repetitions: int
    texts: int
    steps: int | None
    served_weights: str | None
    nanogpt: Path | None
    llama_server: Path | None
    out: Path


def bench(options: Options) -> Results:
    """Run every cell. The report is written after each, so that an interruption loses little."""
    started = time.perf_counter()
    results = Results()
    with tempfile.TemporaryDirectory(prefix="tinygpt-bench-") as name:
        names = [*options.sizes, *(f"preset {size}" for size in options.sizes if "presets" in options.only)]
        models = [_make_model(network, Path(name), options.steps) for network in names]
        for step in _cells(options, models):
            results = _joined(results, step)
            _write(options, results, time.perf_counter() - started)
    text = (options.out / "decode.md").read_text(encoding="utf-8")
    _say(text)
    return results


def _cells(options: Options, models: Sequence[Model]) -> Iterator[Results]:
    for_peers = [model for model in models if model.for_peers]
    presets = [model for model in models if not model.for_peers]
    for streams in (1, _STREAMS):
        if "streams" in options.only:
            yield from _stream_cells(options, for_peers, streams, peers=True)
        if presets:
            yield from _stream_cells(options, presets, streams, peers=False)
    settings = {"TINYGPT_MODEL_SERVER_WEIGHTS": options.served_weights} if options.served_weights else {}
    cores = set(options.cores)
    for model in for_peers:
        if "http" in options.only:
            yield Results(
                served=serve(
                    model,
                    prompts(_PROMPTS),
                    cores,
                    llama=options.llama_server,
                    seconds=options.http_seconds,
                    repetitions=options.repetitions,
                    settings=settings,
                    say=_say,
                )
            )
        if "start-up" in options.only:
            yield Results(
                start_ups=start_up(model, cores, repetitions=options.repetitions, settings=settings, say=_say)
            )


def _stream_cells(options: Options, models: Sequence[Model], streams: int, *, peers: bool) -> Iterator[Results]:
    cores = set(options.cores[-1:] if streams == 1 else options.cores)
    asked = {"ours": options.ours, "nanogpt": options.nanogpt, "llama": options.llama_server}
    with sides(cores, streams, peers=peers, **asked) as everyone:  # type: ignore[arg-type]
        for model in models:
            if streams == 1:
                agreements = compare_texts(model, everyone, prompts(options.texts), _NEW_TOKENS, _say)
                yield Results(agreements=agreements)
                wrong = [one.side for one in agreements if one.wrong]
                if wrong:
                    raise SystemExit(f"{model.name}: {', '.join(wrong)} gives other greedy texts: nothing is compared.")
            decoded = measure_cell(
                model,
                everyone,
                streams,
                prompts(_PROMPTS),
                new_tokens=_NEW_TOKENS,
                seconds=options.seconds,
                repetitions=options.repetitions,
                say=_say,
            )
            yield Results(decoded=decoded)
            yield Results(shares=_shares(options, model, streams, speeds(decoded, model.name, streams)))


def _make_model(name: str, root: Path, steps: int | None) -> Model:
    """Train briefly, and export to what the peers read."""
    folder = root / name.replace(" ", "-")
    folder.mkdir()
    size = name.removeprefix("preset ")
    _say(f"{name}: training ...")
    checkpoint = make_checkpoint(NETWORKS[name], folder / CHECKPOINT, steps or STEPS[size])  # type: ignore[index]
    for_peers = not name.startswith("preset")
    if for_peers:
        _say(f"{name}: exporting ...")
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # progress bars
            warnings.simplefilter("ignore")
            export_hugging_face(checkpoint, folder / HUGGING_FACE)
            export_ctranslate2(folder / HUGGING_FACE, folder / CTRANSLATE2)
            export_onnx(checkpoint, folder / ONNX)
            for side, file in GGUF.items():
                export_gguf(checkpoint, folder / file, q8_0="Q8_0" in side)
    return Model(name, folder, checkpoint.tokenizer, for_peers)


def _shares(options: Options, model: Model, streams: int, measured: dict[str, dict[int, float]]) -> list[Share]:
    """Our sides' shares of the ceiling: of bandwidth for one stream, of a matrix product's operations for many."""
    config = load_checkpoint(model.folder / CHECKPOINT).model.config
    positions = range(_PROMPT_TOKENS, _PROMPT_TOKENS + _NEW_TOKENS)
    found = []
    for weights, size in BYTES_A_WEIGHT.items():
        side = f"ours, {weights}"
        if side not in measured:
            continue
        tokens_a_second = statistics.median(measured[side].values())
        if streams == 1:
            read = matrix_parameters(config) * size
            ceiling = read_gigabytes_a_second(read, options.cores[-1])
            found.append(Share(model.name, streams, side, tokens_a_second * read / 1e9, ceiling, "GB/s"))
        elif weights != "int8":
            reached = tokens_a_second * flops_a_token(config, positions) / 1e9
            product = product_gflops(getattr(torch, weights), len(options.cores), streams, config.width)
            found.append(Share(model.name, streams, side, reached, max(product.large, product.thin), "GFLOPS"))
    return found


# -- reports


def _joined(results: Results, more: Results) -> Results:
    return Results(**{name: [*value, *getattr(more, name)] for name, value in vars(results).items()})


def _write(options: Options, results: Results, seconds: float) -> None:
    facts = machine()
    report = {
        "settings": {
            **asdict(options),
            "nanogpt": bool(options.nanogpt),
            "llama_server": bool(options.llama_server),
            "out": None,
        },
        "machine": facts,
        "seconds": round(seconds),
        "agreements": [asdict(one) for one in results.agreements],
        "decoded": [
            {**asdict(one), "tokens_a_second": one.speed.tokens_a_second, "cores_used": one.speed.cores_used}
            for one in results.decoded
        ],
        "served": [asdict(one) for one in results.served],
        "shares": [{**asdict(one), "share": one.share} for one in results.shares],
        "start_ups": [asdict(one) for one in results.start_ups],
    }
    options.out.mkdir(parents=True, exist_ok=True)
    write_whole(options.out / "decode.json", compact_json(report))
    summary = (
        f"{facts['processor']}, cores {options.cores}, torch {facts['packages']['torch']}, {facts['at'][:10]}. "
        f"Temperature 0.8, top-p 0.9, repetition penalty 1.2; prompts of {_PROMPT_TOKENS} tokens, {_NEW_TOKENS} new "
        f"(64 over HTTP). Medians of {options.repetitions} alternating repetitions (ranges); took {seconds:.0f} s. "
        f"{_disturbance(results)}"
    )
    write_whole(options.out / "decode.md", f"{summary}\n\n{markdown(results)}\n")


def _disturbance(results: Results) -> str:
    """Cores used by one stream, the lowest of all: a low number means that the machine was busy."""
    used = [one.speed.cores_used for one in results.decoded if one.streams == 1]
    return f"Of its core, a single stream used at least {min(used):.0%}." if used else ""


def _say(text: str) -> None:
    print(text, flush=True)


# -- the command line


def _parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="make bench-decode ARGS=...", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=_names(("tiny", "small")), default="tiny,small", help="default: both")
    parser.add_argument(
        "--only", type=_names(CELLS), default=",".join(CELLS), help=f"some of {', '.join(CELLS)} (default: all)"
    )
    parser.add_argument(
        "--ours",
        type=lambda text: [name.strip() for name in text.split(";")],
        default=list(OURS),
        metavar="SIDE;SIDE",
        help=f"some of {'; '.join(OURS)} (default: all); the last is always among them",
    )
    parser.add_argument(
        "--cores",
        type=lambda text: [int(core) for core in text.split(",")],
        default=sorted(os.sched_getaffinity(0))[:2] if hasattr(os, "sched_getaffinity") else [0, 1],
        metavar="N,N",
        help="for many streams and servers; one stream has the last (default: the first two)",
    )
    parser.add_argument(
        "--seconds", type=float, default=1.5, metavar="S", help="least of a repetition (default: %(default)s)"
    )
    parser.add_argument(
        "--http-seconds", type=float, default=10.0, metavar="S", help="of a load over HTTP (default: %(default)s)"
    )
    parser.add_argument("--repetitions", type=int, default=3, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--texts", type=int, default=8, metavar="N", help="greedy texts that are compared (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="optimiser steps that the weights have learned for")
    parser.add_argument(
        "--served-weights",
        choices=tuple(BYTES_A_WEIGHT),
        help="format of the weights in our server (default: the server's own)",
    )
    parser.add_argument("--nanogpt", type=Path, metavar="PATH", help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--llama-server", type=Path, metavar="PATH", help="llama.cpp's `llama-server`")
    parser.add_argument("--quick", action="store_true", help="tiny alone, one short repetition of everything")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent / "results",
        metavar="FOLDER",
        help="folder for the reports (default: benchmarks/results)",
    )
    parsed = vars(parser.parse_args(arguments))
    quick = parsed.pop("quick")
    options = Options(**parsed)
    for path in (options.llama_server, options.nanogpt and options.nanogpt / "model.py"):
        if path is not None and not path.is_file():
            parser.error(f"{path} is not there")
    unknown = set(options.ours) - set(OURS)
    if unknown:
        parser.error(f"--ours: {', '.join(sorted(unknown))} is not one of {'; '.join(OURS)}")
    options = replace(options, ours=[name for name in OURS if name in options.ours or name == list(OURS)[-1]])
    if quick:
        options = replace(
            options, sizes=options.sizes[:1], seconds=0.3, http_seconds=1.0, repetitions=1, texts=4, steps=20
        )
    return options


def _names(known: Sequence[str]) -> Any:
    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        wrong = [name for name in names if name not in known]
        if wrong:
            raise argparse.ArgumentTypeError(f"{wrong[0]} is not one of {', '.join(known)}")
        return names

    return parse


def main(arguments: Sequence[str] | None = None) -> None:
    bench(_parse(arguments))


if __name__ == "__main__":
    main()
