"""The cells of `bench_decode.py` without HTTP: one stream on one core, many streams on all cores."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from benchmarks.decoding_models import CONTEXT_LENGTH, GREEDY, SAMPLING, Sampling
from benchmarks.decoding_sides import CHECKPOINT, GGUF, NANOGPT, PEERS, Prompts
from benchmarks.http_load import drive
from benchmarks.servers import LlamaServer
from benchmarks.side_process import SideFailed, SideProcess, Speed
from tinygpt.data.tokenizer import Tokenizer
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.model.transformer import TinyGPT

REFERENCE = "ours, PyTorch"
_NEAR = 1e-3
"""Largest difference of two logits that summing in another order may cause, with room; logits go up to about 5."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Model:
    """A model's folder, which has every format that the sides need."""

    name: str
    folder: Path
    tokenizer: Tokenizer
    for_peers: bool

    def prompts(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.tokenizer.encode_prompt(text) for text in texts]


@dataclass(frozen=True)
class Agreement:
    """How many of a side's greedy texts equal those of the reference."""

    model: str
    side: str
    texts: int
    equal: int
    near_ties: int
    """Texts that differ from a token on whose logit equals the expected one's up to rounding."""
    first_difference: int | None
    """The fewest tokens after which any text differs."""

    @property
    def wrong(self) -> bool:
        """Formats that round, and llama.cpp with its approximate GELU, may differ elsewhere too."""
        rounds = "int8" in self.side or "bfloat16" in self.side or self.side in GGUF
        return not rounds and self.equal + self.near_ties < self.texts


@dataclass(frozen=True)
class Decoded:
    """A repetition of a cell."""

    model: str
    streams: int
    side: str
    repetition: int
    speed: Speed


class Decoding(Protocol):
    name: str

    def texts(self, model: Model, prompts: Sequence[str], new_tokens: int, sampling: Sampling) -> list[list[int]]: ...

    def measure(self, model: Model, prompts: Sequence[str], new_tokens: int, seconds: float, /) -> Speed: ...


class _InProcess:
    def __init__(self, process: SideProcess) -> None:
        self.name = process.name
        self._process = process

    def texts(self, model: Model, prompts: Sequence[str], new_tokens: int, sampling: Sampling) -> list[list[int]]:
        return self._process.texts(model.folder, model.prompts(prompts), new_tokens, sampling)

    def measure(self, model: Model, prompts: Sequence[str], new_tokens: int, seconds: float) -> Speed:
        ids: Prompts = model.prompts(prompts)
        return self._process.measure(model.folder, ids, new_tokens, SAMPLING, seconds)


class _Llama:
    """llama.cpp's server with a slot for each stream, started anew for each repetition.

    One stream is timed by the server itself, without HTTP. Many are timed by the clock, of which HTTP is a small part.
    """

    def __init__(self, name: str, binary: Path, cores: set[int], streams: int) -> None:
        self.name = name
        self._binary = binary
        self._cores = cores
        self._streams = streams

    def texts(self, model: Model, prompts: Sequence[str], new_tokens: int, sampling: Sampling) -> list[list[int]]:
        server = LlamaServer(self._binary, model.tokenizer, self.name, slots=self._streams)
        with server.started(model.folder, self._cores, CONTEXT_LENGTH) as process:
            requests = [server.request(prompt, new_tokens, sampling) for prompt in prompts]
            load = drive(process.port, requests, clients=1, count=len(requests))
        return [server.ids(exchange) for exchange in load.exchanges]

    def measure(self, model: Model, prompts: Sequence[str], new_tokens: int, seconds: float) -> Speed:
        server = LlamaServer(self._binary, model.tokenizer, self.name, slots=self._streams)
        with server.started(model.folder, self._cores, CONTEXT_LENGTH) as process:
            requests = [server.request(prompt, new_tokens, SAMPLING) for prompt in prompts[: self._streams]]
            drive(process.port, requests, clients=self._streams, count=self._streams)
            tokens, spent = 0, 0.0
            before = process.processor_seconds()
            while spent < seconds:
                load = drive(process.port, requests, clients=self._streams, count=self._streams)
                tokens += sum(map(server.tokens, load.exchanges))
                by_clock = max(one.done for one in load.exchanges) - load.started
                spent += server.seconds(load.exchanges[0]) if self._streams == 1 else by_clock
            return Speed(tokens, spent, process.processor_seconds() - before)


@contextmanager
def sides(
    cores: set[int], streams: int, *, ours: Sequence[str], peers: bool, nanogpt: Path | None, llama: Path | None
) -> Iterator[list[Decoding]]:
    """The sides to compare, each in a process of its own on these cores."""
    with_nanogpt = peers and nanogpt and streams == 1  # without a cache, many streams would take minutes
    names = [*ours, *(PEERS if peers else ()), *([NANOGPT] if with_nanogpt else ())]
    with ExitStack() as stack:
        found: list[Decoding] = []
        for name in names:
            process = SideProcess(name, cores, streams, nanogpt)
            stack.callback(process.close)
            found.append(_InProcess(process))
        if peers and llama:
            found += [_Llama(name, llama, cores, streams) for name in GGUF]
        yield found


def compare_texts(
    model: Model, everyone: Sequence[Decoding], prompts: Sequence[str], new_tokens: int, say: Say
) -> list[Agreement]:
    """Compare every side's greedy texts with the PyTorch decoder's. A side that fails is left out."""
    reference = next(side for side in everyone if side.name == REFERENCE)
    expected = reference.texts(model, prompts, new_tokens, GREEDY)
    network = load_checkpoint(model.folder / CHECKPOINT).model
    agreements = []
    for side in everyone:
        try:
            texts = side.texts(model, prompts, new_tokens, GREEDY)
        except (SideFailed, RuntimeError) as error:
            say(f"left out: {error}")
            continue
        differences = [_first_difference(*pair) for pair in zip(texts, expected, strict=True)]
        found = [place for place in differences if place is not None]
        near_ties = sum(
            _is_near_tie(network, [*prompt, *text[:place]], text[place], other[place])
            for prompt, text, other, place in zip(model.prompts(prompts), texts, expected, differences, strict=True)
            if place is not None and place < min(len(text), len(other))
        )
        equal = len(texts) - len(found)
        agreement = Agreement(model.name, side.name, len(texts), equal, near_ties, min(found, default=None))
        agreements.append(agreement)
        say(f"{model.name}, greedy: {side.name} gives {agreement.equal} of {len(texts)} texts of {REFERENCE}")
    return agreements


@torch.inference_mode()
def _is_near_tie(network: TinyGPT, ids: Sequence[int], one: int, other: int) -> bool:
    logits = network(torch.tensor([ids]))[0, -1]
    return abs(float(logits[one] - logits[other])) < _NEAR


def _first_difference(text: Sequence[int], expected: Sequence[int]) -> int | None:
    if text == expected:
        return None
    pairs = zip(text, expected, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(text), len(expected)))


def measure_cell(
    model: Model,
    everyone: Sequence[Decoding],
    streams: int,
    prompts: Sequence[str],
    *,
    new_tokens: int,
    seconds: float,
    repetitions: int,
    say: Say,
) -> list[Decoded]:
    """Measure the sides in turn, `repetitions` times, so that a machine that slows down slows all of them.

    The PyTorch decoder takes many streams one after the other, so it is measured once.
    """
    measured: list[Decoded] = []
    failed: set[str] = set()
    for repetition in range(repetitions):
        for side in everyone:
            one_by_one = side.name == REFERENCE and streams > 1
            if side.name in failed or (one_by_one and repetition > 0):
                continue
            try:
                speed = side.measure(model, prompts, new_tokens, seconds)
            except (SideFailed, RuntimeError) as error:
                failed.add(side.name)
                say(f"left out: {error}")
                continue
            measured.append(Decoded(model.name, streams, side.name, repetition, speed))
            say(
                f"{model.name}, {streams} streams: {side.name} {speed.tokens_a_second:,.0f} tokens/s, "
                f"{speed.cores_used:.2f} cores used"
            )
    return measured
