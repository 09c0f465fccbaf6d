"""The stack as real processes: Redis, trainer, model server and gateway on free ports, with a volume of their own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import psutil
import redis

from tests.conftest import free_port, wait_until
from tinygpt.runtime.redis_server import redis_binary, redis_command

Service = Literal["redis", "trainer", "model_server", "gateway"]

ROWS = [
    {"prompt": f"{verb} the {what} {name}", "code": code.format(name=name)}
    for verb, what, code in (
        ("reverse", "list", "{name}[::-1]"),
        ("sort", "list", "sorted({name})"),
        ("sum", "numbers", "sum({name})"),
        ("count", "items", "len({name})"),
    )
    for name in ("nums", "items", "words", "xs", "rows", "data")
]


class Stack:
    """Starts, kills and asks the services. `home` is their volume, `settings` are more of their variables."""

    def __init__(self, home: Path, work: Path, **settings: str) -> None:
        self.home = home
        self._settings = settings
        self._work = work
        self._redis_port = free_port()
        self.gateway_port = free_port()
        self.model_server_port = free_port()
        self._processes: dict[Service, subprocess.Popen[bytes]] = {}
        self.redis_url = f"redis://127.0.0.1:{self._redis_port}/0"
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.gateway_port}", timeout=60, trust_env=False)
        self.model_server = httpx.Client(
            base_url=f"http://127.0.0.1:{self.model_server_port}", timeout=10, trust_env=False
        )

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TINYGPT_")}
        return inherited | {
            "TINYGPT_HOME": str(self.home),
            "TINYGPT_REDIS_URL": self.redis_url,
            "TINYGPT_LOG_FORMAT": "json",
            "TINYGPT_LEASE_SECONDS": "6",
            "TINYGPT_TRAINER_THREADS": "1",
            "TINYGPT_TRAINER_ALIVE_FILE": str(self._work / "alive"),
            "TINYGPT_MODEL_SERVER_PORT": str(self.model_server_port),
            "TINYGPT_MODEL_SERVER_FOLLOW_SECONDS": "0.2",
            "TINYGPT_GATEWAY_PORT": str(self.gateway_port),
            "TINYGPT_MODEL_SERVER_URLS": f"http://127.0.0.1:{self.model_server_port}",
            "TINYGPT_QUICK_START": "false",
            "TINYGPT_MAX_UPLOAD_MB": "1",
            **self._settings,
        }

    # -- processes

    def start(self, service: Service) -> None:
        """Start it; Redis and the HTTP services answer when this returns."""
        if service == "redis":
            binary = redis_binary()
            assert binary is not None
            command = redis_command(binary, host="127.0.0.1", port=self._redis_port, folder=self._work)
        else:
            command = [sys.executable, "-m", f"services.{service}"]
        with self.log_path(service).open("ab") as log:
            self._processes[service] = subprocess.Popen(
                command, cwd=self._work, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        answers = {
            "redis": self._redis_answers,
            "model_server": lambda: _answers(self.model_server),
            "gateway": lambda: _answers(self.http),
        }.get(service)
        if answers is not None:
            wait_until(answers, f"{service} answers")

    def pid(self, service: Service) -> int:
        return self._processes[service].pid

    def send_signal(self, service: Service, number: signal.Signals) -> None:
        self._processes[service].send_signal(number)

    def stop(self, service: Service, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, wait for the end, return the exit code."""
        self.send_signal(service, number)
        return self._processes[service].wait(timeout=30)

    def work_horse(self) -> psutil.Process | None:
        """The trainer's child that runs a job."""
        children = psutil.Process(self.pid("trainer")).children()
        return children[0] if children else None

    def close(self) -> None:
        for process in reversed(self._processes.values()):
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait()
        self.http.close()
        self.model_server.close()

    def log_path(self, service: Service) -> Path:
        return self._work / f"{service}.log"

    def log(self, service: Service) -> str:
        return self.log_path(service).read_text() if self.log_path(service).exists() else ""

    def _redis_answers(self) -> bool:
        with redis.Redis.from_url(self.redis_url) as client, contextlib.suppress(redis.ConnectionError):
            return bool(client.ping())
        return False

    # -- the gateway

    def train(self, **request: Any) -> str:
        """POST /train with few rows and steps, unless the request says otherwise. Returns the run's id."""
        body = {"rows": ROWS, "preset": "quick-start", "context_length": 64, "batch_size": 4, "max_steps": 20}
        response = self.http.post("/train", json=body | request)
        assert response.status_code == 202, response.text
        run_id: str = response.json()["run_id"]
        return run_id

    def run(self, run_id: str) -> dict[str, Any]:
        response = self.http.get(f"/train/{run_id}")
        assert response.status_code == 200, response.text
        record: dict[str, Any] = response.json()
        return record

    def wait_for_state(self, run_id: str, *states: str, seconds: float = 60) -> dict[str, Any]:
        wait_until(lambda: self.run(run_id)["state"] in states, f"{run_id} is {' or '.join(states)}", seconds)
        return self.run(run_id)

    def wait_for_evaluation(self, run_id: str) -> int:
        """Until the run has been evaluated, and so has has a `last.pt`. Returns its step."""
        evaluations: list[int] = []
        for event in self.events(run_id):
            if event["event"] == "evaluation":
                evaluations.append(event["data"]["data"]["step"])
                break
        assert evaluations, f"{run_id} ended before its first evaluation"
        return evaluations[0]

    def serving(self) -> str | None:
        """The id of the model in the model server's memory."""
        model = self.model_server.get("/health").json()["model"]
        return model["model_id"] if model else None

    def events(self, run_id: str, after: str | None = None) -> Iterator[dict[str, Any]]:
        """Server-sent events until the stream ends: {"id", "event", "data"}."""
        headers = {"Last-Event-ID": after} if after else {}
        with self.http.stream("GET", f"/train/{run_id}/events", headers=headers) as response:
            assert response.status_code == 200
            event: dict[str, Any] = {}
            for line in response.iter_lines():
                if line and not line.startswith(":"):
                    field, _, value = line.partition(": ")
                    event[field] = json.loads(value) if field == "data" else value
                elif event:
                    yield event
                    event = {}


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").is_success
    except httpx.TransportError:
        return False
