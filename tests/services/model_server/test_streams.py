"""A model server's streams: what comes in them, in which order, and how they end."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import wait_until
from tests.services.conftest import PROMPT, store_scripted_model
from tests.services.model_server.conftest import ANSWER, Gate, Server, health, wait_for_model
from tinygpt.http import sse
from tinygpt.inference.torch_decoder import TorchDecoder
from tinygpt.runtime.volume import Volume


def events(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """Each event's name and data; a comment as ("", its text)."""
    name = "message"
    for line in response.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)
        elif not field and value:
            yield "", value


def streamed(client: httpx.Client, **request: Any) -> list[tuple[str, Any]]:
    with client.stream("POST", "/generate", json={"prompt": PROMPT, "stream": True} | request) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["Cache-Control"] == "no-cache"
        return list(events(response))


def test_the_text_comes_in_deltas_and_then_the_answer_all_under_one_id(scripted: httpx.Client) -> None:
    *deltas, (name, answer) = streamed(scripted)
    assert {name for name, _ in deltas} == {"delta"}
    assert len(deltas) > 1
    assert "".join(delta["text"] for _, delta in deltas) == answer["raw"] == ANSWER
    assert name == "answer"
    assert {delta["id"] for _, delta in deltas} == {answer["id"]}
    assert answer["id"].startswith("gen-")

    whole = scripted.post("/generate", json={"prompt": PROMPT}).json()
    assert whole["id"] != answer["id"]
    for own in ("id", "timings"):
        del whole[own], answer[own]
    assert answer == whole


def test_a_delta_comes_while_the_next_is_not_written_yet(scripted: httpx.Client, gate: Gate) -> None:
    gate.shut(after_steps=1)
    with scripted.stream("POST", "/generate", json={"prompt": PROMPT, "stream": True}) as response:
        arriving = events(response)
        assert next(arriving)[1]["text"] == ANSWER[0]
        assert health(scripted).running == 1
        gate.open()
        assert [name for name, _ in arriving][-1] == "answer"


def test_choices_are_told_apart_by_their_index(scripted: httpx.Client) -> None:
    *deltas, (_, answer) = streamed(scripted, n=3, max_new_tokens=20)
    texts = {index: "".join(d["text"] for _, d in deltas if d["index"] == index) for index in range(3)}
    assert [choice["raw"] for choice in answer["choices"]] == list(texts.values()) == [ANSWER[:20]] * 3
    assert answer["usage"]["completion_tokens"] == 60


def test_a_choice_of_openais_api_tells_its_finish_reason_before_the_next_one_begins(
    server: Server, volume: Volume
) -> None:
    store_scripted_model(volume, "r-1", ANSWER)
    client = server(model_server_decoder="torch", model_server_slots=1)
    wait_for_model(client, "r-1")
    body = {"prompt": [PROMPT, PROMPT], "n": 2, "max_tokens": 9, "stream": True}
    came: list[int] = []
    reasons: list[tuple[int, str]] = []
    with client.stream("POST", "/v1/completions", json=body) as response:
        for line in response.iter_lines():
            if line.startswith("data: {"):
                (choice,) = json.loads(line.removeprefix("data: "))["choices"]
                came.append(choice["index"])
                if choice["finish_reason"]:
                    reasons.append((choice["index"], choice["finish_reason"]))
    assert came == sorted(came)
    assert reasons == [(index, "length") for index in range(4)]


def test_logprobs_come_with_their_tokens(scripted: httpx.Client) -> None:
    *deltas, (_, answer) = streamed(scripted, logprobs=2, max_new_tokens=12)
    came = [token for _, delta in deltas for token in delta["logprobs"]]
    assert came == answer["logprobs"]
    assert "".join(token["token"] for token in came) == ANSWER[:12]
    assert {len(token["top"]) for token in came} == {2}


def test_a_stop_string_is_never_shown(scripted: httpx.Client) -> None:
    *deltas, (_, answer) = streamed(scripted, stop=["return", "never"])
    assert "".join(delta["text"] for _, delta in deltas) == answer["raw"] == ANSWER[: ANSWER.index("return")]
    assert answer["finish_reason"] == "stop"


def test_what_is_wrong_before_the_first_delta_is_an_error_like_any_other(scripted: httpx.Client) -> None:
    response = scripted.post("/generate", json={"prompt": "x" * 1000, "stream": True}, headers={"X-Request-Id": "mine"})
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "prompt"
    assert response.json()["error"]["request_id"] == response.headers["X-Request-Id"] == "mine"


def test_a_deadline_that_passes_in_a_stream_is_an_error_and_frees_the_slot(scripted: httpx.Client, gate: Gate) -> None:
    gate.shut(after_steps=3)
    headers = {"X-Deadline-Seconds": "0.5", "X-Request-Id": "mine"}
    body = {"prompt": PROMPT, "stream": True}
    with scripted.stream("POST", "/generate", json=body, headers=headers) as response:
        *deltas, (name, error) = events(response)
    text = "".join(delta["text"] for _, delta in deltas)
    assert 1 <= len(text) <= 3
    assert ANSWER.startswith(text)
    assert name == "error"
    assert (error["error"]["code"], error["error"]["request_id"]) == ("deadline_exceeded", "mine")
    wait_until(lambda: health(scripted).running == 0, "the slot is free")


def test_a_decoder_that_fails_in_the_stream_ends_it_with_an_error(
    scripted: httpx.Client, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.shut(after_steps=3)
    with scripted.stream("POST", "/generate", json={"prompt": PROMPT, "stream": True}) as response:
        arriving = events(response)
        assert next(arriving)[0] == "delta"

        def fail(*_: object) -> None:
            raise RuntimeError("out of memory")

        monkeypatch.setattr(TorchDecoder, "step", fail)
        *_, (name, error) = arriving
    assert (name, error["error"]["code"]) == ("error", "internal_error")


def test_a_stream_that_is_quiet_is_kept_alive(
    scripted: httpx.Client, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE_SECONDS", 0.05)
    gate.shut()
    with scripted.stream("POST", "/generate", json={"prompt": PROMPT, "stream": True}) as response:
        arriving = events(response)
        assert [next(arriving) for _ in range(3)] == [("", "keep-alive")] * 3
        gate.open()
        assert [name for name, _ in arriving if name][-1] == "answer"
