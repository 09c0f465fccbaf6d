"""The servers that are measured over HTTP, each a real process: this project's model server and llama.cpp's."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from benchmarks.decoding_models import Sampling
from benchmarks.decoding_sides import GGUF
from benchmarks.http_load import Exchange, post
from benchmarks.side_process import pinned
from tinygpt.contracts.models import BEST_CHECKPOINT, TRAINING_ROWS, FileEntry, Manifest
from tinygpt.contracts.runs import RunMetrics
from tinygpt.data.rows import Row, write_rows
from tinygpt.data.tokenizer import Tokenizer
from tinygpt.durable import sha256_of
from tinygpt.model.checkpoint import load_checkpoint, save_checkpoint
from tinygpt.runtime.volume import Volume

_STARTS_WITHIN = 60.0
_STOPS_WITHIN = 20.0
_REPOSITORY = Path(__file__).resolve().parents[1]
_NOT_MEASURED = RunMetrics(
    steps=0,
    seconds=0,
    validation_loss=0,
    bits_per_character=0,
    parameters=0,
    training_rows=0,
    validation_rows=0,
    stopped_by="max_steps",
)


@dataclass(frozen=True)
class Process:
    """A running server."""

    pid: int
    port: int
    seconds_to_start: float
    """From the start of the process to its first answer."""

    def processor_seconds(self) -> float:
        """Processor time of all its threads so far."""
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system

    def resident_bytes(self) -> int:
        return int(psutil.Process(self.pid).memory_info().rss)

    def main_thread_seconds(self) -> float | None:
        """Processor time of its first thread, which runs the event loop. None without Linux's /proc."""
        try:
            return int(Path(f"/proc/{self.pid}/task/{self.pid}/schedstat").read_text().split()[0]) / 1e9
        except OSError:
            return None


class Server(Protocol):
    """How to request tokens from a server, and how to read its answers. Bodies and events are parsed JSON."""

    name: str

    def request(self, prompt: str, new_tokens: int, sampling: Sampling, *, stream: bool = False) -> bytes: ...

    def tokens(self, exchange: Exchange) -> int:
        """Number of tokens generated, whole or streamed."""

    def text_of_event(self, event: dict[str, Any]) -> str: ...


class ModelServer:
    """`python -m services.model_server` on a volume with one promoted model."""

    name = "ours"

    def request(self, prompt: str, new_tokens: int, sampling: Sampling, *, stream: bool = False) -> bytes:
        """Without post-processing and fallback, which llama.cpp does not have."""
        body = {"prompt": prompt, "max_new_tokens": new_tokens, **asdict(sampling)}
        return post("/generate", body | {"post_process": False, "fallback": "never", "stream": stream})

    def tokens(self, exchange: Exchange) -> int:
        return _answer(exchange)["usage"]["completion_tokens"]  # type: ignore[no-any-return]

    def text_of_event(self, event: dict[str, Any]) -> str:
        return event.get("text", "")  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def started(self, home: Path, cores: set[int], **settings: str) -> Iterator[Process]:
        """Serve the volume at `home`; `settings` are environment variables. Kernels come from `NUMBA_CACHE_DIR`."""
        port = free_port()
        environment = {
            "TINYGPT_HOME": str(home),
            "TINYGPT_MODEL_SERVER_PORT": str(port),
            "TINYGPT_LOG_LEVEL": "warning",
        }
        command = [sys.executable, "-m", "services.model_server"]
        with _running(command, cores, port, "/readyz", environment | settings) as process:
            yield process


class LlamaServer:
    """llama.cpp's `llama-server` with `slots` sequences at the same time, on one of its formats (`GGUF`).

    Prompts are sent as ids.
    """

    def __init__(self, binary: Path, tokenizer: Tokenizer, name: str, *, slots: int) -> None:
        self.name = name
        self.slots = slots
        self._binary = binary
        self._tokenizer = tokenizer

    def request(self, prompt: str, new_tokens: int, sampling: Sampling, *, stream: bool = False) -> bytes:
        body = {
            "prompt": self._tokenizer.encode_prompt(prompt),
            "n_predict": new_tokens,
            "ignore_eos": True,
            "temperature": sampling.temperature,
            "top_k": 0 if sampling.temperature else 1,
            "top_p": sampling.top_p,
            "min_p": 0.0,
            "repeat_penalty": sampling.repetition_penalty,
            "repeat_last_n": 64,
            "samplers": ["penalties", "temperature", "top_p"] if sampling.temperature else ["top_k"],
            "cache_prompt": False,
            "return_tokens": True,
            "stream": stream,
        }
        return post("/completion", body)

    def tokens(self, exchange: Exchange) -> int:
        return _answer(exchange)["tokens_predicted"]  # type: ignore[no-any-return]

    def ids(self, exchange: Exchange) -> list[int]:
        return _answer(exchange)["tokens"]  # type: ignore[no-any-return]

    def seconds(self, exchange: Exchange) -> float:
        """The server's own timing of a request: prompt and answer, without HTTP."""
        timings = _answer(exchange)["timings"]
        return (timings["prompt_ms"] + timings["predicted_ms"]) / 1000  # type: ignore[no-any-return]

    def text_of_event(self, event: dict[str, Any]) -> str:
        return event.get("content", "")  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def started(self, folder: Path, cores: set[int], context_length: int) -> Iterator[Process]:
        port = free_port()
        threads = str(len(cores))
        command = [str(self._binary), "--model", str(folder / GGUF[self.name])]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        command += ["--parallel", str(self.slots), "--ctx-size", str(self.slots * context_length)]
        command += ["--threads", threads, "--threads-batch", threads, "--threads-http", "256", "--no-webui"]
        command += ["--no-repack"]  # its AMX kernels may end it with an illegal instruction
        with _running(command, cores, port, "/health", {}) as process:
            yield process


def make_volume(home: Path, *checkpoints: Path) -> Volume:
    """A volume with a finished run for each checkpoint (`model-0`, `model-1`, ...). The first one is promoted."""
    volume = Volume(home)
    for i, path in enumerate(checkpoints):
        run_id = f"model-{i}"
        folder = volume.run(run_id)
        folder.mkdir(parents=True)
        checkpoint = load_checkpoint(path)
        save_checkpoint(checkpoint, folder / BEST_CHECKPOINT)
        write_rows(folder / TRAINING_ROWS, [Row("reverse the list nums", "nums[::-1]")])
        names = (BEST_CHECKPOINT, TRAINING_ROWS)
        volume.write_manifest(
            Manifest(
                run_id=run_id,
                dataset_id="bundled",
                created_at=time.time(),
                files={
                    n: FileEntry(sha256=sha256_of(folder / n), size_bytes=(folder / n).stat().st_size) for n in names
                },
                metrics=_NOT_MEASURED,
                hyperparameters=asdict(checkpoint.model.config),
            )
        )
    volume.promote("model-0")
    return volume


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _running(
    command: Sequence[str], cores: set[int], port: int, path: str, environment: dict[str, str]
) -> Iterator[Process]:
    """Start the command and wait until it answers `path` with 200."""
    with tempfile.TemporaryFile() as log:
        started = time.perf_counter()
        with pinned(cores):
            process = subprocess.Popen(
                command,
                cwd=_REPOSITORY,
                env=os.environ | environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        try:
            while not _answers(port, path):
                if process.poll() is not None or time.perf_counter() - started > _STARTS_WITHIN:
                    log.seek(0)
                    raise RuntimeError(f"{command[0]} did not start: {log.read().decode(errors='replace')[-2000:]}")
                time.sleep(0.01)
            yield Process(process.pid, port, time.perf_counter() - started)
        finally:
            process.terminate()
            try:
                process.wait(timeout=_STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _answer(exchange: Exchange) -> dict[str, Any]:
    """The body, or of a stream the last event, which has the totals."""
    if not exchange.body.startswith(b"{"):
        return [event for _, event in exchange.events()][-1]
    body: dict[str, Any] = json.loads(exchange.body)
    return body
