"""Requests: prompts, request ids and deadlines."""

import httpx
import pytest

from tests.conftest import wait_until
from tests.services.model_server.conftest import Gate, count, health


@pytest.mark.parametrize("prompt", ["sort 🙂", "<EOS>", "<CODE><PAD>", "a\x00b", "مرحبا", "x" * 500], ids=ascii)
def test_any_prompt_that_fits_gets_an_answer(served: httpx.Client, prompt: str) -> None:
    answer = served.post("/generate", json={"prompt": prompt})
    assert answer.status_code == 200, answer.text
    assert answer.json()["source"] in ("model", "retrieval", "none")


def test_a_prompt_longer_than_the_context_is_422_with_its_length(served: httpx.Client) -> None:
    answer = served.post("/generate", json={"prompt": "x" * 10_000})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    assert "10000" in error["message"]


def test_the_request_id_is_passed_through_and_stands_in_errors(served: httpx.Client) -> None:
    answer = served.post("/generate", json={"prompt": "x" * 10_000}, headers={"X-Request-Id": "mine"})
    assert answer.headers["X-Request-Id"] == answer.json()["error"]["request_id"] == "mine"


def test_a_deadline_that_passes_is_504_and_frees_the_slot(served: httpx.Client, gate: Gate) -> None:
    gate.shut()
    answer = served.post("/generate", json={"prompt": "p"}, headers={"X-Deadline-Seconds": "0.2"})
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    wait_until(lambda: health(served).running == 0, "the slot is free")
    assert count(served, 'tinygpt_request_success_total{finished_reason="cancelled"}') == 1


@pytest.mark.parametrize("deadline", ["0", "-1", "soon", "nan"])
def test_a_deadline_that_is_none_is_422(served: httpx.Client, deadline: str) -> None:
    answer = served.post("/generate", json={"prompt": "p"}, headers={"X-Deadline-Seconds": deadline})
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["param"] == "header.x-deadline-seconds"
