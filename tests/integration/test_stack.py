"""The stack as its users meet it: real processes, one Redis, one volume, and what happens when a part dies."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import wait_until
from tests.integration.stack import ROWS, Service, Stack

LONG = {"max_steps": 250, "promote": "never"}
"""A run of some seconds, with an evaluation (and so a `last.pt`) every 21 steps."""


def steps_of_last_attempt(events: list[dict[str, Any]]) -> list[int]:
    payloads = [event["data"]["data"] for event in events]
    began = max(position for position, data in enumerate(payloads) if data.get("state") == "running")
    return [data["step"] for data in payloads[began:] if "step" in data]


def states(events: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["data"]["state"] for event in events if event["event"] == "state"]


# -- the main job


def test_a_run_is_followed_from_its_post_to_its_end(stack: Stack, first_model: str) -> None:
    run_id = stack.train(promote="never", seed=2)
    events = list(stack.events(run_id))
    assert states(events) == ["queued", "running", "succeeded"]
    assert any(event["event"] == "evaluation" for event in events)
    assert stack.run(run_id)["state"] == "succeeded"


def test_a_reconnecting_follower_gets_exactly_the_events_after_its_last(stack: Stack, first_model: str) -> None:
    everything = list(stack.events(first_model))
    seen = everything[len(everything) // 2]
    rest = list(stack.events(first_model, after=seen["id"]))
    assert rest == everything[len(everything) // 2 + 1 :]


def test_a_trained_model_answers(stack: Stack, first_model: str) -> None:
    response = stack.http.post(
        "/generate", json={"prompt": "reverse the list nums"}, headers={"X-Request-Id": "from-the-client"}
    )
    assert response.status_code == 200, response.text
    assert response.json()["model"] == first_model
    assert response.headers["X-Request-Id"] == "from-the-client"
    wait_until(lambda: '"request_id": "from-the-client"' in stack.log("model_server"), "the id reaches the other log")


def test_a_prompt_never_reaches_a_log(stack: Stack, first_model: str) -> None:
    prompt = "a secret wish of mine"
    assert stack.http.post("/generate", json={"prompt": prompt}).status_code == 200
    assert stack.http.post("/generate", json={"prompt": prompt, "temperature": -1}).status_code == 422
    assert prompt not in stack.log("gateway") + stack.log("model_server")


def test_a_prompt_longer_than_the_context_is_refused_in_one_sentence(stack: Stack, first_model: str) -> None:
    response = stack.http.post("/generate", json={"prompt": "x" * 10_000})
    assert response.status_code == 422
    error = response.json()["error"]
    assert error["param"] == "prompt"
    assert "10000 characters" in error["message"]
    assert "shorten the prompt" in error["message"]


@pytest.mark.parametrize(
    "prompt", ["sort 🙂 by 🎉", "what does <EOS> mean", "<PAD><CODE>", "a\x00b", "\n", "é" * 30], ids=ascii
)
def test_a_prompt_with_odd_characters_gets_an_answer_or_a_sentence(stack: Stack, first_model: str, prompt: str) -> None:
    response = stack.http.post("/generate", json={"prompt": prompt})
    if prompt.strip():
        assert response.status_code == 200, response.text
    else:
        assert response.status_code == 422
        assert "blank" in response.json()["error"]["message"]


def test_the_same_seed_gives_the_same_answer(stack: Stack, first_model: str) -> None:
    request = {"prompt": "sort the list xs", "temperature": 1.5, "seed": 5, "fallback": "never", "post_process": False}
    answers = {stack.http.post("/generate", json=request).json()["code"] for _ in range(3)}
    assert len(answers) == 1


def test_a_promoted_model_is_served_without_a_restart_and_previous_goes_back(stack: Stack, first_model: str) -> None:
    second = stack.train(promote="always", seed=3)
    stack.wait_for_state(second, "succeeded")
    wait_until(lambda: stack.serving() == second, "the second model is served")
    assert [(model["model_id"], model["current"]) for model in stack.http.get("/models").json()["models"][:1]] == [
        (second, True)
    ]

    back = stack.http.post("/models/previous/promote")
    assert back.json()["run_id"] == first_model
    wait_until(lambda: stack.serving() == first_model, "the first model is served again")


# -- stopping a run


def test_a_running_run_is_cancelled_within_seconds_and_keeps_its_checkpoint(stack: Stack) -> None:
    run_id = stack.train(**LONG | {"max_steps": 1_000_000})
    stack.wait_for_state(run_id, "running")
    assert stack.http.delete(f"/train/{run_id}").status_code == 202
    record = stack.wait_for_state(run_id, "cancelled", seconds=10)
    assert record["ended_at"] is not None
    assert (stack.home / "runs" / run_id / "last.pt").exists()
    again = stack.http.delete(f"/train/{run_id}")
    assert again.status_code == 409
    assert again.json()["error"]["code"] == "conflict"


# -- a part dies


def test_a_killed_work_horse_costs_an_attempt_and_the_run_resumes(stack: Stack) -> None:
    run_id = stack.train(**LONG)
    saved = stack.wait_for_evaluation(run_id)
    horse = stack.work_horse()
    assert horse is not None
    horse.kill()
    record = stack.wait_for_state(run_id, "succeeded", "failed")
    assert (record["state"], record["attempt"]) == ("succeeded", 2), record["error"]
    assert min(steps_of_last_attempt(list(stack.events(run_id)))) > saved


def test_a_killed_trainer_is_no_loss_once_it_is_started_again(stack: Stack) -> None:
    run_id = stack.train(**LONG)
    saved = stack.wait_for_evaluation(run_id)
    horse = stack.work_horse()
    assert horse is not None
    stack.send_signal("trainer", signal.SIGSTOP)
    horse.kill()
    stack.stop("trainer", signal.SIGKILL)
    assert stack.run(run_id)["state"] == "running"
    stack.start("trainer")
    record = stack.wait_for_state(run_id, "succeeded", "failed")
    assert (record["state"], record["attempt"]) == ("succeeded", 2), record["error"]
    assert min(steps_of_last_attempt(list(stack.events(run_id)))) > saved


def test_the_work_horse_of_a_killed_trainer_saves_requeues_and_leaves(stack: Stack) -> None:
    run_id = stack.train(**LONG | {"max_steps": 1_000_000})
    stack.wait_for_state(run_id, "running")
    wait_until(lambda: stack.run(run_id)["progress"], "it trains")
    horse = stack.work_horse()
    assert horse is not None
    stack.stop("trainer", signal.SIGKILL)
    stack.wait_for_state(run_id, "queued", seconds=15)
    assert (stack.home / "runs" / run_id / "last.pt").exists()
    wait_until(lambda: not horse.is_running() or horse.status() == "zombie", "the orphan leaves")
    assert stack.http.delete(f"/train/{run_id}").json()["state"] == "cancelled"
    stack.start("trainer")


def test_sigterm_requeues_the_run_and_a_new_trainer_resumes_it(stack: Stack) -> None:
    run_id = stack.train(**LONG)
    saved = stack.wait_for_evaluation(run_id)
    assert stack.stop("trainer") == 0
    assert stack.run(run_id)["state"] == "queued"
    stack.start("trainer")
    record = stack.wait_for_state(run_id, "succeeded", "failed")
    assert (record["state"], record["attempt"]) == ("succeeded", 1), record["error"]
    assert min(steps_of_last_attempt(list(stack.events(run_id)))) > saved


def test_a_run_survives_a_restart_of_redis(stack: Stack, first_model: str) -> None:
    run_id = stack.train(**LONG)
    stack.wait_for_state(run_id, "running")
    stack.stop("redis")

    refused = stack.http.get("/train")
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "redis_unavailable"
    assert refused.headers["Retry-After"]
    assert stack.http.get("/health").json()["status"] == "degraded"
    assert stack.http.post("/generate", json={"prompt": "sum the numbers xs"}).status_code == 200

    stack.start("redis")
    record = stack.wait_for_state(run_id, "succeeded", "failed")
    assert record["state"] == "succeeded", record["error"]
    assert stack.http.get("/health").json()["status"] == "ok"


def test_an_idle_trainer_waits_for_redis_to_come_back(stack: Stack) -> None:
    stack.stop("redis")
    stack.start("redis")
    run_id = stack.train(promote="never")
    assert stack.wait_for_state(run_id, "succeeded", "failed")["state"] == "succeeded"


def test_a_trainer_stopped_after_redis_exits_without_an_error(stack: Stack) -> None:
    stack.stop("redis")
    code = stack.stop("trainer")
    stack.start("redis")
    stack.start("trainer")
    assert code == 0
    stack.wait_for_state(stack.train(promote="never"), "succeeded")


def test_a_model_server_that_dies_under_a_request_is_a_clear_error_and_comes_back(
    stack: Stack, first_model: str
) -> None:
    answers: list[httpx.Response] = []
    stack.send_signal("model_server", signal.SIGSTOP)
    asking = threading.Thread(
        target=lambda: answers.append(stack.http.post("/generate", json={"prompt": "sum the numbers xs"}))
    )
    asking.start()
    wait_until(lambda: "tinygpt_gateway_in_flight 1.0" in stack.http.get("/metrics").text, "the request is upstream")
    stack.stop("model_server", signal.SIGKILL)
    asking.join(timeout=20)

    assert [answer.status_code for answer in answers] == [503]
    assert answers[0].json()["error"]["code"] == "model_server_unavailable"
    assert answers[0].headers["Retry-After"]
    assert stack.http.get("/readyz").status_code == 503
    assert stack.http.get("/health").json()["status"] == "unavailable"

    stack.start("model_server")
    wait_until(lambda: stack.http.get("/readyz").is_success, "ready again")
    assert stack.http.post("/generate", json={"prompt": "sum the numbers xs"}).status_code == 200


# -- what is wrong at the start


@pytest.mark.parametrize(
    ("service", "setting"),
    [("gateway", "TINYGPT_GATEWAY_PORT"), ("model_server", "TINYGPT_MODEL_SERVER_PORT")],
)
def test_a_taken_port_is_one_sentence_that_names_the_setting(stack: Stack, service: Service, setting: str) -> None:
    second = subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        env=stack.environment,
        cwd=stack.log_path(service).parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "Can't listen on 127.0.0.1:" in second.stderr
    assert f"set {setting}" in second.stderr


# -- no room left


@pytest.fixture
def full_disk(stack: Stack, small_disk: Path | None) -> Iterator[None]:
    """Fill the volume to the last byte; free it again afterwards."""
    if small_disk is None:
        pytest.skip("a small file system can only be mounted by root, with the right to mount")
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 20)):
                pass
        except OSError:
            pass
    assert os.statvfs(small_disk).f_bavail == 0
    yield
    ballast.unlink()


def parts(home: Path) -> list[Path]:
    """Half-written files."""
    return [path for path in home.rglob(".*") if path.is_file()]


def test_an_upload_to_a_full_disk_is_507_and_leaves_nothing(stack: Stack, full_disk: None) -> None:
    lines = "".join(f'{{"prompt": "p{i}", "code": "c{i}"}}\n' for i in range(5000))
    response = stack.http.post("/datasets", content=lines)
    assert response.status_code == 507
    error = response.json()["error"]
    assert error["code"] == "storage_full"
    assert "free some space" in error["message"]
    assert parts(stack.home) == []


def test_a_run_on_a_full_disk_fails_with_a_sentence_and_the_model_served_stays_whole(
    stack: Stack, first_model: str, full_disk: None
) -> None:
    # The rows are those of earlier runs, so their dataset is stored already.
    response = stack.http.post("/train", json={"dataset": stack.run(first_model)["dataset_id"], "max_steps": 5})
    assert response.status_code == 202, response.text
    record = stack.wait_for_state(response.json()["run_id"], "failed", "succeeded")
    assert record["state"] == "failed"
    assert record["error"]["code"] == "storage_full"
    assert "Traceback" not in record["error"]["message"]
    assert parts(stack.home) == []

    stack.stop("model_server")
    stack.start("model_server")
    wait_until(lambda: stack.serving() == first_model, "the stored model loads as before")
    assert len(stack.http.get("/models").json()["models"]) >= 1


def test_rows_in_the_body_on_a_full_disk_are_refused_and_no_run_is_recorded(stack: Stack, full_disk: None) -> None:
    before = len(stack.http.get("/train?limit=500").json()["runs"])
    rows = [*ROWS, {"prompt": "never seen before", "code": "x = 1"}]
    response = stack.http.post("/train", json={"rows": rows * 20})
    assert response.status_code == 507, response.text
    assert len(stack.http.get("/train?limit=500").json()["runs"]) == before
