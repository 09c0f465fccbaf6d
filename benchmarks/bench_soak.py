"""The model server under full load: does memory stay flat, is every slot free again, is any request lost?

    make bench-soak                          # ten minutes
    make bench-soak ARGS="--seconds 60"

More clients than slots ask for answers of one token to more than the context holds, whole and streamed; some go away in
the middle of an answer; every few seconds another model is promoted and loaded under all of them. Every request is
counted, here and by the server. Writes soak.json. Exits 1 if there is a problem.
"""

import argparse
import json
import re
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.decoding_models import SAMPLING, Sampling, make_checkpoint, prompts
from benchmarks.http_load import Exchange, drive
from benchmarks.machine import machine
from benchmarks.reports import compact_json
from benchmarks.servers import ModelServer, Process, make_volume
from tinygpt.durable import write_whole
from tinygpt.model.config import SIZES
from tinygpt.runtime.volume import Volume

_LENGTHS = (1, 8, 64, 200, 4096)
_GROWTH = 1.1
"""Largest ratio of the memory at the end to that after a fifth that still counts as flat."""
_SETTLES_WITHIN = 30.0


@dataclass(frozen=True)
class Soaked:
    """What was counted."""

    seconds: float
    clients: int
    sent: int
    answered: int
    given_up: int
    lost: int
    tokens_a_second: float
    answers_by_model: dict[str, int]
    promotions: int
    resident_mib: list[float]
    """Four samples a second."""
    running_at_the_end: float
    counted_by_the_server: int
    """Sequences that ended, for whatever reason."""

    @property
    def growth(self) -> float:
        """Resident memory at the end relative to that after a fifth of the time."""
        return self.resident_mib[-1] / self._resident_after_a_fifth

    @property
    def _resident_after_a_fifth(self) -> float:
        return self.resident_mib[len(self.resident_mib) // 5]

    def to_json(self) -> dict[str, Any]:
        """All counts, and of the samples of memory those that `growth` compares."""
        memory = {"after_a_fifth": self._resident_after_a_fifth, "at_the_end": self.resident_mib[-1]}
        return asdict(self) | {"resident_mib": memory, "growth": self.growth}

    def problems(self) -> list[str]:
        found = []
        if self.lost:
            found.append(f"{self.lost} of {self.sent} requests were lost")
        if self.growth > _GROWTH:
            found.append(f"memory grew {self.growth:.2f} times")
        if self.running_at_the_end:
            found.append(f"{self.running_at_the_end:g} slots were never freed")
        if self.counted_by_the_server != self.sent:
            found.append(f"the server counted {self.counted_by_the_server} requests, but {self.sent} were sent")
        if self.promotions and len(self.answers_by_model) < 2:
            found.append("no promoted model ever answered")
        return found


def soak(home: Path, *, seconds: float, clients: int, promote_every: float, cores: set[int], steps: int) -> Soaked:
    """Serve two small models in alternation, under load for `seconds`."""
    checkpoints = [home / f"{seed}.pt" for seed in range(2)]
    for seed, path in enumerate(checkpoints):
        make_checkpoint(SIZES["tiny"], path, steps, seed)
    volume = make_volume(home / "volume", *checkpoints)
    server = ModelServer()
    requests, given_up = _requests(server)
    with server.started(home / "volume", cores) as process, _Beside(process, volume, promote_every) as beside:
        load = drive(process.port, requests, clients=clients, seconds=seconds, give_up=given_up)
        _settle(process)
        metrics = _metrics(process)
    good = [one for one in load.exchanges if one.status == 200 and not one.given_up]
    return Soaked(
        seconds=load.ended - load.started,
        clients=clients,
        sent=len(load.exchanges),
        answered=len(good),
        given_up=sum(one.given_up for one in load.exchanges),
        lost=len(load.lost),
        tokens_a_second=_of(metrics, "tinygpt_generation_tokens_total") / (load.ended - load.started),
        answers_by_model=dict(Counter(_model(one) for one in good)),
        promotions=beside.promotions,
        resident_mib=beside.resident_mib,
        running_at_the_end=_of(metrics, "tinygpt_num_requests_running"),
        counted_by_the_server=int(_of(metrics, "tinygpt_request_success_total")),
    )


def _requests(server: ModelServer) -> tuple[list[bytes], set[bytes]]:
    """Requests of every length, whole and streamed, and those that the client gives up: every fifth, all streamed."""
    texts = prompts(64)
    greedy = Sampling(temperature=0.0)
    requests, given_up = [], set()
    for i, prompt in enumerate(texts):
        goes_away = i % 5 == 4
        sampling = greedy if i % 7 == 0 else SAMPLING
        length = _LENGTHS[-1] if goes_away else _LENGTHS[i % len(_LENGTHS)]
        request = server.request(prompt, length, sampling, stream=goes_away or i % 2 == 1)
        requests.append(request)
        if goes_away:
            given_up.add(request)
    return requests, given_up


class _Beside:
    """A thread beside the load, which promotes the two models in alternation and samples the server's memory."""

    def __init__(self, process: Process, volume: Volume, promote_every: float) -> None:
        self.promotions = 0
        self.resident_mib: list[float] = []
        self._process = process
        self._volume = volume
        self._promote_every = promote_every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "_Beside":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        started = time.monotonic()
        while not self._stop.wait(0.25):
            self.resident_mib.append(self._process.resident_bytes() / 2**20)
            if time.monotonic() - started > self._promote_every * (self.promotions + 1):
                self.promotions += 1
                self._volume.promote(f"model-{self.promotions % 2}")


def _settle(process: Process) -> None:
    """Wait until nothing runs, at most `_SETTLES_WITHIN` seconds."""
    deadline = time.monotonic() + _SETTLES_WITHIN
    while _of(_metrics(process), "tinygpt_num_requests_running") and time.monotonic() < deadline:
        time.sleep(0.1)


def _metrics(process: Process) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{process.port}/metrics", timeout=10) as response:
        text: str = response.read().decode()
        return text


def _of(metrics: str, name: str) -> float:
    """The sum over a metric's labels."""
    return sum(float(value) for value in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", metrics, re.MULTILINE))


def _model(exchange: Exchange) -> str:
    """The model that wrote an answer. In a stream, the last event names it."""
    if exchange.body.startswith(b"{"):
        return str(json.loads(exchange.body)["model"])
    return str([event for _, event in exchange.events()][-1]["model"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="make bench-soak ARGS=...", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0, metavar="S", help="default: %(default)s")
    parser.add_argument("--clients", type=int, default=64, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--promote-every", type=float, default=10.0, metavar="S", help="0 for never (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=100, metavar="N", help="that the models learn for")
    parser.add_argument(
        "--cores", type=lambda text: {int(core) for core in text.split(",")}, default={0, 1}, metavar="N,N"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", metavar="FOLDER")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tinygpt-soak-") as name:
        soaked = soak(
            Path(name),
            seconds=options.seconds,
            clients=options.clients,
            promote_every=options.promote_every or float("inf"),
            cores=options.cores,
            steps=options.steps,
        )
    problems = soaked.problems()
    options.out.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine(), "soak": soaked.to_json(), "problems": problems}
    write_whole(options.out / "soak.json", compact_json(report))
    print(json.dumps(soaked.to_json(), indent=1))
    print(*problems or ["No problems: nothing lost, memory flat, every slot free."], sep="\n")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
