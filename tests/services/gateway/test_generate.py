"""`POST /generate` through the gateway: what is refused, passed on, retried later."""

import asyncio
import json
import socket
import threading
from typing import Any

import httpx
import pytest

from tests.conftest import wait_until
from tests.services.gateway.conftest import (
    ANSWER,
    StartGateway,
    Upstream,
    error_of,
    model_server,
    refusing,
    stalled,
    unreachable,
)
from tinygpt.contracts.errors import InvalidRequest, ModelLoading, NoModel
from tinygpt.contracts.generation import GenerateResponse


def test_generate_answers_with_the_model_servers_answer(gateway: httpx.Client) -> None:
    response = gateway.post("/generate", json={"prompt": "reverse the list nums"})
    assert response.status_code == 200
    assert GenerateResponse.model_validate_json(response.content) == ANSWER


@pytest.mark.parametrize("prompt", ["x" * 10_000, "sort 🙂", "<EOS>", "a\x00b", "تجربة", "\\", '"'], ids=ascii)
def test_any_prompt_reaches_the_model_server_as_it_was_typed(start_gateway: StartGateway, prompt: str) -> None:
    seen: list[str] = []

    async def record(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content)["prompt"])
        return await model_server(request)

    assert start_gateway(record).post("/generate", json={"prompt": prompt}).status_code == 200
    assert seen == [prompt]


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({}, "prompt", "required"),
        ({"prompt": ""}, "prompt", "1 character"),
        ({"prompt": " \n\t"}, "prompt", "blank"),
        ({"prompt": "x" * 20_001}, "prompt", "20000"),
        ({"prompt": 5}, "prompt", "string"),
        ({"prompt": "p", "temperature": -1}, "temperature", "greater than or equal to 0, not -1"),
        ({"prompt": "p", "temperature": "warm"}, "temperature", "number"),
        ({"prompt": "p", "top_p": 0}, "top_p", "greater than 0"),
        ({"prompt": "p", "max_new_tokens": 0}, "max_new_tokens", "1"),
        ({"prompt": "p", "seed": -1}, "seed", "0"),
        ({"prompt": "p", "tempreature": 1}, "tempreature", "not permitted"),
    ],
)
def test_an_invalid_request_names_the_field_and_why(
    gateway: httpx.Client, body: dict[str, Any], param: str, says: str
) -> None:
    error = error_of(gateway.post("/generate", json=body), 422, "invalid_request")
    assert error["param"] == param
    assert says in error["message"]
    assert error["message"].startswith(f"{param}: ")


@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"nonsense", b'{"prompt": "a" "b"}', b"\xff\xfe", b'{"prompt": "\x00"}', b"[" * 100_000],
    ids=["cut", "empty", "text", "broken", "binary", "NUL", "deep"],
)
def test_a_body_that_is_not_json_is_one_sentence(gateway: httpx.Client, body: bytes) -> None:
    response = gateway.post("/generate", content=body, headers={"Content-Type": "application/json"})
    error = response.json()["error"]
    assert response.status_code in (400, 422)
    error_of(response, response.status_code, error["code"])


@pytest.mark.parametrize("body", ["[]", "null", '"text"', "5"])
def test_json_that_is_no_object_is_invalid(gateway: httpx.Client, body: str) -> None:
    response = gateway.post("/generate", content=body, headers={"Content-Type": "application/json"})
    assert error_of(response, 422, "invalid_request")["param"] == "body"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_a_number_that_is_none_is_invalid(gateway: httpx.Client, number: str) -> None:
    body = f'{{"prompt": "p", "temperature": {number}}}'
    response = gateway.post("/generate", content=body, headers={"Content-Type": "application/json"})
    assert error_of(response, 422, "invalid_request")["param"] == "temperature"


def test_half_a_surrogate_pair_is_invalid(gateway: httpx.Client) -> None:
    response = gateway.post("/generate", content=r'{"prompt": "\ud83d"}', headers={"Content-Type": "application/json"})
    error_of(response, 422, "invalid_request")


def test_a_body_without_its_content_type_is_told_to_name_it(gateway: httpx.Client) -> None:
    """What `curl -d` sends when its user forgets the header."""
    response = gateway.post(
        "/generate", content='{"prompt": "p"}', headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    error = error_of(response, 415, "unsupported_media_type")
    assert "application/json" in error["message"]


def test_the_model_servers_refusal_is_passed_on_with_the_requests_own_id(start_gateway: StartGateway) -> None:
    gateway = start_gateway(refusing(InvalidRequest("The prompt has 9 characters too many.", param="prompt")))
    response = gateway.post("/generate", json={"prompt": "p"}, headers={"X-Request-Id": "mine"})
    error = error_of(response, 422, "invalid_request")
    assert (error["message"], error["param"], error["request_id"]) == (
        "The prompt has 9 characters too many.",
        "prompt",
        "mine",
    )


@pytest.mark.parametrize(
    ("upstream", "code"),
    [
        (refusing(ModelLoading("The model is loading.")), "loading"),
        (refusing(NoModel("There is no model yet.")), "no_model"),
        (unreachable, "model_server_unavailable"),
    ],
    ids=["loading", "no_model", "unreachable"],
)
def test_without_a_model_server_that_serves_generate_is_503_and_so_is_readiness(
    start_gateway: StartGateway, upstream: Upstream, code: str
) -> None:
    gateway = start_gateway(upstream)
    error_of(gateway.post("/generate", json={"prompt": "p"}), 503, code)
    error_of(gateway.get("/readyz"), 503, code)


def test_a_deadline_that_passes_is_504(start_gateway: StartGateway) -> None:
    response = start_gateway(stalled, request_timeout=0.2).post("/generate", json={"prompt": "p"})
    error_of(response, 504, "deadline_exceeded")


def test_one_request_too_many_is_429_at_once_and_a_place_that_frees_is_taken(start_gateway: StartGateway) -> None:
    release = threading.Event()

    async def hold(request: httpx.Request) -> httpx.Response:
        await asyncio.to_thread(release.wait, 20)
        return await model_server(request)

    gateway = start_gateway(hold, max_in_flight=1, max_queue=1)
    answers: list[int] = []

    def ask() -> None:
        answers.append(httpx.post(f"{gateway.base_url}/generate", json={"prompt": "p"}, timeout=30).status_code)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: "tinygpt_gateway_waiting 1.0" in gateway.get("/metrics").text, "one waits")
    error_of(gateway.post("/generate", json={"prompt": "p"}), 429, "queue_full")
    release.set()
    for thread in threads:
        thread.join()
    assert answers == [200, 200]


def test_a_client_that_goes_away_frees_its_place(start_gateway: StartGateway) -> None:
    gateway = start_gateway(stalled, max_in_flight=1, max_queue=0)
    address = (str(gateway.base_url.host), gateway.base_url.port or 0)
    body = b'{"prompt": "p"}'
    with socket.create_connection(address) as leaving:
        leaving.sendall(
            b"POST /generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        wait_until(lambda: "tinygpt_gateway_in_flight 1.0" in gateway.get("/metrics").text, "it is upstream")
    wait_until(lambda: "tinygpt_gateway_in_flight 0.0" in gateway.get("/metrics").text, "its place is free", seconds=5)
