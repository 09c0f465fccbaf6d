"""The cells of `bench_decode.py` over HTTP: 64-token answers for 1 to 128 clients, and start-up."""

import itertools
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.decoding_cells import Model, Say
from benchmarks.decoding_models import CONTEXT_LENGTH, SAMPLING
from benchmarks.decoding_sides import GGUF
from benchmarks.http_load import Exchange, drive
from benchmarks.servers import LlamaServer, ModelServer, Process, Server, make_volume

ANSWER_TOKENS = 64
CLIENTS = (1, 8, 32, 128)
STREAMING_CLIENTS = 32
_WARM_UP_SHARE = 0.2
_TRIAL_SECONDS = 2.0


@dataclass(frozen=True)
class Served:
    """A repetition. Seconds are those of a whole answer, or to the first token of a streamed one."""

    model: str
    side: str
    setting: str
    """llama.cpp's settings that were fastest for this number of clients. Empty for ours, which has its defaults."""
    clients: int
    repetition: int
    tokens_a_second: float
    median_seconds: float
    p99_seconds: float
    first_token_p99_seconds: float | None
    """None if nothing was streamed."""
    answers: int
    lost: int
    """Requests without a complete answer of the length asked for."""
    main_thread_milliseconds: float | None
    """Processor time of the server's event loop per answer: HTTP and JSON. Ours only."""
    cores_used: float
    """By the server's process. The clients share its cores, and so does everything else that runs."""
    client_share: float
    """The share of one core that the clients took."""
    resident_mib: float
    """The server's memory afterwards."""


@dataclass(frozen=True)
class StartUp:
    """Seconds from the start of the model server's process to its first token over HTTP."""

    model: str
    kernels: str
    """`cached`, or `compiled anew` as on the first start on a machine."""
    repetition: int
    seconds: float


def serve(
    model: Model,
    prompts: Sequence[str],
    cores: set[int],
    *,
    llama: Path | None,
    seconds: float,
    repetitions: int,
    settings: dict[str, str],
    say: Say,
) -> list[Served]:
    """Measure ours and llama.cpp's in alternation, each alone on the machine.

    llama.cpp's server has the settings that are fastest for each number of clients.
    """
    measured: list[Served] = []
    with tempfile.TemporaryDirectory(prefix="tinygpt-bench-") as home:
        make_volume(Path(home), model.folder / "best.pt")
        llamas = _fastest_llamas(llama, model, prompts, cores, min(_TRIAL_SECONDS, seconds), say) if llama else []
        for repetition in range(repetitions):
            ours = ModelServer()
            with ours.started(Path(home), cores, **settings) as process:
                measured += _measure(model, ours, "ours", "", process, CLIENTS, prompts, repetition, seconds, say)
            for setting, server, clients in llamas:
                with server.started(model.folder, setting.cores(cores), CONTEXT_LENGTH) as process:
                    measured += _measure(
                        model, server, "llama.cpp", str(setting), process, clients, prompts, repetition, seconds, say
                    )
    return measured


@dataclass(frozen=True)
class _LlamaSetting:
    side: str
    slots: int
    core_count: int

    def __str__(self) -> str:
        return f"{self.side.removeprefix('llama.cpp, ')}, {self.slots} slots, {self.core_count} cores"

    def cores(self, cores: set[int]) -> set[int]:
        return set(sorted(cores)[: self.core_count])

    def server(self, binary: Path, model: Model) -> LlamaServer:
        return LlamaServer(binary, model.tokenizer, self.side, slots=self.slots)


def _fastest_llamas(
    binary: Path, model: Model, prompts: Sequence[str], cores: set[int], seconds: float, say: Say
) -> list[tuple[_LlamaSetting, LlamaServer, list[int]]]:
    """The settings that are fastest for some numbers of clients, each with its server and those numbers.

    A setting with which the server does not start is reported and left out.
    """
    speeds: dict[int, dict[_LlamaSetting, float]] = {clients: {} for clients in CLIENTS}
    for side, slots, count in itertools.product(GGUF, (1, 8, 32), sorted({1, len(cores)})):
        setting = _LlamaSetting(side, slots, count)
        server = setting.server(binary, model)
        requests = [server.request(prompt, ANSWER_TOKENS, SAMPLING) for prompt in prompts]
        try:
            with server.started(model.folder, setting.cores(cores), CONTEXT_LENGTH) as process:
                for clients in CLIENTS:
                    load = drive(process.port, requests, clients=clients, seconds=seconds)
                    tokens = sum(server.tokens(one) for one in load.exchanges if one.status == 200)
                    speeds[clients][setting] = tokens / (load.exchanges[-1].done - load.started)
        except RuntimeError as error:
            say(f"left out: {setting}: {error}")
    fastest: dict[_LlamaSetting, list[int]] = {}
    for clients, tried in speeds.items():
        if tried:
            setting = max(tried, key=tried.__getitem__)
            fastest.setdefault(setting, []).append(clients)
            speeds_of_all = ", ".join(f"{one}: {speed:,.0f}" for one, speed in tried.items())
            say(f"{model.name}, llama.cpp for {clients} clients: {setting} is fastest of {speeds_of_all}")
    return [(setting, setting.server(binary, model), clients) for setting, clients in fastest.items()]


def _measure(
    model: Model,
    server: Server,
    side: str,
    setting: str,
    process: Process,
    clients_in_turn: Sequence[int],
    prompts: Sequence[str],
    repetition: int,
    seconds: float,
    say: Say,
) -> list[Served]:
    measured = []
    whole = [server.request(prompt, ANSWER_TOKENS, SAMPLING) for prompt in prompts]
    streamed = [server.request(prompt, ANSWER_TOKENS, SAMPLING, stream=True) for prompt in prompts]
    drive(process.port, whole, clients=8, count=16)
    turns = [(clients, False) for clients in clients_in_turn]
    if STREAMING_CLIENTS in clients_in_turn:
        turns.append((STREAMING_CLIENTS, True))
    for clients, stream in turns:
        before, server_before = process.main_thread_seconds(), process.processor_seconds()
        load = drive(process.port, streamed if stream else whole, clients=clients, seconds=seconds)
        after, server_after = process.main_thread_seconds(), process.processor_seconds()
        whole_seconds = max(one.done for one in load.exchanges) - load.started

        def is_good(one: Exchange, server: Server = server) -> bool:
            return one.status == 200 and server.tokens(one) == ANSWER_TOKENS

        good = list(filter(is_good, load.exchanges))
        steady = list(filter(is_good, load.within(skip=_WARM_UP_SHARE * seconds)))
        latencies = [one.seconds for one in steady]
        firsts = [_first_token(server, one) for one in steady] if stream else []
        one = Served(
            model=model.name,
            side=side,
            setting=setting,
            clients=clients,
            repetition=repetition,
            tokens_a_second=len(steady) * ANSWER_TOKENS / ((1 - _WARM_UP_SHARE) * seconds),
            median_seconds=statistics.median(latencies) if latencies else float("inf"),
            p99_seconds=percentile(latencies, 0.99),
            first_token_p99_seconds=percentile(firsts, 0.99) if stream else None,
            answers=len(good),
            lost=len(load.exchanges) - len(good),
            main_thread_milliseconds=(
                1000 * (after - before) / max(1, len(good)) if before is not None and after is not None else None
            ),
            cores_used=(server_after - server_before) / whole_seconds,
            client_share=load.client_seconds / (load.ended - load.started),
            resident_mib=process.resident_bytes() / 2**20,
        )
        measured.append(one)
        first = f", first token p99 {1000 * one.first_token_p99_seconds:.0f} ms" if one.first_token_p99_seconds else ""
        say(
            f"{model.name}, {clients} clients: {side} {one.tokens_a_second:,.0f} tokens/s, "
            f"p99 {1000 * one.p99_seconds:.0f} ms{first}, {one.answers} answers, {one.lost} lost, "
            f"{one.cores_used:.2f} cores used"
        )
    return measured


def _first_token(server: Server, exchange: Exchange) -> float:
    came = (at for at, event in exchange.events() if server.text_of_event(event))
    return next(came, float("inf")) - exchange.sent


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest rank. Infinite if there are no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")


def start_up(
    model: Model,
    cores: set[int],
    *,
    repetitions: int,
    settings: dict[str, str],
    say: Say,
    kernels_in_turn: Sequence[str] = ("compiled anew", "cached"),
) -> list[StartUp]:
    """Measure with a fresh folder for compiled kernels, then with the folder that this left."""
    measured = []
    with tempfile.TemporaryDirectory(prefix="tinygpt-bench-") as name:
        make_volume(Path(name) / "home", model.folder / "best.pt")
        for repetition in range(repetitions):
            cache = {"NUMBA_CACHE_DIR": str(Path(name) / f"kernels-{repetition}")}
            for kernels in kernels_in_turn:
                seconds = _first_token_of(Path(name) / "home", cores, settings | cache)
                measured.append(StartUp(model.name, kernels, repetition, seconds))
                say(f"{model.name}, start-up with kernels {kernels}: {seconds:.2f} s to the first token")
    return measured


def _first_token_of(home: Path, cores: set[int], settings: dict[str, str]) -> float:
    server = ModelServer()
    with server.started(home, cores, **settings) as process:
        request = server.request("reverse the list nums", 1, SAMPLING)
        (exchange,) = drive(process.port, [request], clients=1, count=1).exchanges
    assert exchange.status == 200, bytes(exchange.received[:500])
    return process.seconds_to_start + exchange.seconds
