"""The compose stack on a real Docker engine: it trains, answers, is hardened, and survives any container's death."""

import ast
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("redis", "trainer", "model_server", "gateway")


@dataclass(frozen=True)
class Stack:
    """A compose project of its own, and its door."""

    project: str
    environment: dict[str, str]
    client: httpx.Client

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "compose", "-p", self.project, *arguments],
            cwd=ROOT,
            env=os.environ | self.environment,
            text=True,
            capture_output=True,
            check=check,
        )

    def inspect(self, service: str) -> dict[str, Any]:
        container = self.compose("ps", "-aq", service).stdout.strip()
        found = subprocess.run(["docker", "inspect", container], text=True, capture_output=True, check=True).stdout
        facts: dict[str, Any] = json.loads(found)[0]
        return facts

    def kill_and_start(self, service: str) -> None:
        self.compose("kill", service)
        self.compose("start", service)

    def ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def generate(self, prompt: str) -> dict[str, Any]:
        response = self.client.post("/generate", json={"prompt": prompt})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def run(self, run_id: str) -> dict[str, Any]:
        record: dict[str, Any] = self.client.get(f"/train/{run_id}").raise_for_status().json()
        return record


def until(stack: Stack, condition: Callable[[], object], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            logs = stack.compose("logs", "--tail", "40", check=False).stdout
            pytest.fail(f"not within {seconds:g} s: {what}\n{logs}")
        time.sleep(0.5)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    port = free_port()
    environment = {"TINYGPT_GATEWAY_PORT": str(port), "TINYGPT_REDIS_PASSWORD": "a-secret:/@#"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        stack = Stack(f"tinygpt-e2e-{port}", environment, client)
        try:
            up = stack.compose("up", "--build", "-d", check=False)
            assert up.returncode == 0, up.stdout[-4000:] + up.stderr[-4000:]
            yield stack
        finally:
            stack.compose("down", "--volumes", "--timeout", "20", check=False)


def test_up_alone_trains_a_first_model_and_answers_with_parsing_python(stack: Stack) -> None:
    until(stack, stack.ready, "the quick-start model is served", 300)
    answer = stack.generate("reverse the list nums")
    assert ast.parse(answer["code"]).body
    assert answer["source"] in {"model", "retrieval"}
    (run,) = stack.client.get("/train").json()["runs"]
    assert run["state"] == "succeeded"
    assert run["ended_at"] - run["started_at"] <= 120


def test_only_the_gateway_has_a_port_and_only_on_loopback(stack: Stack) -> None:
    bindings = {service: stack.inspect(service)["HostConfig"]["PortBindings"] or {} for service in SERVICES}
    assert {service for service, ports in bindings.items() if ports} == {"gateway"}
    assert [binding["HostIp"] for binding in bindings["gateway"]["8000/tcp"]] == ["127.0.0.1"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_no_more_rights_than_it_needs(stack: Stack, service: str) -> None:
    facts = stack.inspect(service)
    host = facts["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0
    assert facts["State"]["Health"]["Status"] in {"healthy", "starting"}
    assert stack.compose("exec", "-T", service, "id", "-u").stdout.strip() != "0"


def test_the_model_server_mounts_the_volume_read_only(stack: Stack) -> None:
    writable = {mount["Destination"]: mount["RW"] for mount in stack.inspect("model_server")["Mounts"]}
    assert writable == {"/var/lib/tinygpt": False, "/var/cache/tinygpt": True}


def test_the_gateway_image_has_no_torch(stack: Stack) -> None:
    found = stack.compose("exec", "-T", "gateway", "python", "-c", "import torch", check=False)
    assert "No module named 'torch'" in found.stderr


@pytest.mark.parametrize(("service", "has_rows"), [("gateway", False), ("model_server", False), ("trainer", True)])
def test_only_the_trainers_image_has_grown_rows_and_none_the_factory(
    stack: Stack, service: str, has_rows: bool
) -> None:
    program = (
        "from importlib.util import find_spec; from pathlib import Path; import tinygpt;"
        "rows = Path(tinygpt.__file__).parent / 'bundled' / 'train.jsonl';"
        "print(rows.exists(), find_spec('tinygpt_factory') is None)"
    )
    assert stack.compose("exec", "-T", service, "python", "-c", program).stdout.split() == [str(has_rows), "True"]


def test_the_redis_password_is_asked_for(stack: Stack) -> None:
    assert "NOAUTH" in stack.compose("exec", "-T", "redis", "redis-cli", "dbsize").stdout


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_killed_and_started_again_brings_the_stack_back_without_help(stack: Stack, service: str) -> None:
    body = {"model": "tiny", "max_steps": 150, "context_length": 128, "batch_size": 8, "promote": "never"}
    run_id = stack.client.post("/train", json=body).raise_for_status().json()["run_id"]
    until(stack, lambda: (stack.run(run_id)["progress"] or {}).get("step", 0) > 5, "the run is under way", 120)
    stack.kill_and_start(service)
    until(stack, stack.ready, f"ready after {service} was killed", 120)
    assert ast.parse(stack.generate("reverse the list nums")["code"]).body
    until(stack, lambda: stack.run(run_id)["state"] == "succeeded", f"the run survives the death of {service}", 240)


def test_stop_ends_every_container_within_its_grace_period(stack: Stack) -> None:
    stack.compose("stop")
    for service in SERVICES:
        assert stack.inspect(service)["State"]["ExitCode"] in {0, 143}, service
