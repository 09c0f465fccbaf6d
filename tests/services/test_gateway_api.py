"""The gateway's door: every endpoint, and each error with its body and headers."""

import asyncio
import contextlib
import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from tests.conftest import free_port, wait_until
from tests.services.conftest import EVALUATION, ROWS, StoreModel, serving, settings_of_gateway
from tinygpt.contracts.errors import ErrorBody, InvalidRequest, ModelLoading, NoModel, TinyGPTError
from tinygpt.contracts.generation import GenerateResponse, Timings, Usage
from tinygpt.contracts.runs import DEFAULT_DATASET, RunState, TrainRequest
from tinygpt.data.store import bundled_rows
from tinygpt.http.sse import sse_event
from tinygpt.runtime.queue import connect, training_queue
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.volume import Volume

JSONL = "".join(row.to_json() + "\n" for row in ROWS)
BODY_ROWS = [json.loads(row.to_json()) for row in ROWS]
HEALTHY = {"status": "ok", "uptime_seconds": 1, "running": 0, "waiting": 0}
ANSWER = GenerateResponse(
    code="nums[::-1]",
    raw="nums[::-1]",
    source="model",
    finish_reason="eos",
    repaired=False,
    model="r-1",
    usage=Usage(prompt_tokens=1, completion_tokens=1),
    timings=Timings(queue=0, prefill=0, decode=0),
)
Upstream = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


async def model_server(request: httpx.Request) -> httpx.Response:
    """One that has a model and answers at once."""
    if request.url.path == "/health":
        return httpx.Response(200, json=HEALTHY)
    if request.content and json.loads(request.content).get("stream"):
        event = sse_event(ANSWER.model_dump_json(), "answer")
        return httpx.Response(200, content=event, headers={"Content-Type": "text/event-stream"})
    return httpx.Response(200, content=ANSWER.model_dump_json(), headers={"Content-Type": "application/json"})


async def stalled(request: httpx.Request) -> httpx.Response:
    """One that has a model and never answers."""
    if request.url.path == "/health":
        return httpx.Response(200, json=HEALTHY)
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


def refusing(error: TinyGPTError) -> Upstream:
    async def refuse(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/health":
            status = "no_model" if isinstance(error, NoModel) else "loading"
            return httpx.Response(503, json=HEALTHY | {"status": status, "reason": error.message})
        return httpx.Response(error.status, content=ErrorBody(error=error.detail()).model_dump_json())

    return refuse


async def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


Door = Callable[..., httpx.Client]


@pytest.fixture
def door(gateway_settings: GatewaySettings) -> Iterator[Door]:
    """`door(upstream, **settings)`: a client of a gateway under a real uvicorn."""
    with contextlib.ExitStack() as stack:

        def open_door(upstream: Upstream = model_server, **settings: Any) -> httpx.Client:
            app = create_app(gateway_settings.model_copy(update=settings), transport=httpx.MockTransport(upstream))
            url = stack.enter_context(serving(app))
            return stack.enter_context(httpx.Client(base_url=url, timeout=30, trust_env=False))

        yield open_door


@pytest.fixture(scope="session")
def shared_gateway(home: Path, redis_server: str) -> Iterator[httpx.Client]:
    app = create_app(settings_of_gateway(home, redis_server), transport=httpx.MockTransport(model_server))
    with serving(app) as url, httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def gateway(shared_gateway: httpx.Client, volume: Volume, redis_url: str) -> httpx.Client:
    """A client of a gateway that serves, on an empty volume and an empty Redis."""
    return shared_gateway


@pytest.fixture
def runs(gateway_settings: GatewaySettings) -> Iterator[RunStore]:
    with connect(gateway_settings) as decoding, connect(gateway_settings, decode_responses=False) as plain:
        yield RunStore(decoding, training_queue(plain))


def error_of(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error, after a look at its one shape and its headers."""
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error.keys() == {"message", "type", "code", "param", "request_id"}
    assert error["code"] == code
    assert error["request_id"] == response.headers["X-Request-Id"]
    assert error["message"].endswith(".")
    assert "Traceback" not in response.text
    assert ("Retry-After" in response.headers) is (status in (429, 503))
    if "Retry-After" in response.headers:
        assert int(response.headers["Retry-After"]) >= 1
    return error


# -- generate


def test_generate_answers_with_the_model_servers_answer(gateway: httpx.Client) -> None:
    response = gateway.post("/generate", json={"prompt": "reverse the list nums"})
    assert response.status_code == 200
    assert GenerateResponse.model_validate_json(response.content) == ANSWER


@pytest.mark.parametrize("prompt", ["x" * 10_000, "sort 🙂", "<EOS>", "a\x00b", "تجربة", "\\", '"'], ids=ascii)
def test_any_prompt_reaches_the_model_server_as_it_was_typed(door: Door, prompt: str) -> None:
    seen: list[str] = []

    async def record(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content)["prompt"])
        return await model_server(request)

    assert door(record).post("/generate", json={"prompt": prompt}).status_code == 200
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


def test_the_model_servers_refusal_is_passed_on_with_the_requests_own_id(door: Door) -> None:
    gateway = door(refusing(InvalidRequest("The prompt has 9 characters too many.", param="prompt")))
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
    door: Door, upstream: Upstream, code: str
) -> None:
    gateway = door(upstream)
    error_of(gateway.post("/generate", json={"prompt": "p"}), 503, code)
    error_of(gateway.get("/readyz"), 503, code)


def test_a_deadline_that_passes_is_504(door: Door) -> None:
    response = door(stalled, request_timeout=0.2).post("/generate", json={"prompt": "p"})
    error_of(response, 504, "deadline_exceeded")


def test_one_request_too_many_is_429_at_once_and_a_place_that_frees_is_taken(door: Door) -> None:
    release = threading.Event()

    async def hold(request: httpx.Request) -> httpx.Response:
        await asyncio.to_thread(release.wait, 20)
        return await model_server(request)

    gateway = door(hold, max_in_flight=1, max_queue=1)
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


def test_a_client_that_goes_away_frees_its_place(door: Door) -> None:
    gateway = door(stalled, max_in_flight=1, max_queue=0)
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


# -- train


def test_a_run_is_accepted_recorded_and_queued(gateway: httpx.Client, runs: RunStore) -> None:
    response = gateway.post("/train", json={"rows": BODY_ROWS, "max_steps": 3, "seed": 1})
    assert response.status_code == 202
    record = response.json()
    assert (record["state"], record["request"]["rows"], record["request"]["max_steps"]) == ("queued", None, 3)
    assert record["request"]["dataset"] == record["dataset_id"]
    assert gateway.get(f"/train/{record['run_id']}").json() == record
    assert gateway.get("/train").json()["runs"] == [record]
    assert [stored.run_id for stored in runs.active()] == [record["run_id"]]


def test_the_quick_start_trains_a_model_where_no_run_under_way_gives_one(
    door: Door, runs: RunStore, caplog: pytest.LogCaptureFixture
) -> None:
    runs.create(TrainRequest(promote="never"), "d-1")
    other, _ = runs.create(TrainRequest(), "d-1")
    door(unreachable, quick_start=True)

    def its_own() -> bool:
        return any(run.origin == "quick-start" for run in runs.active())

    wait_until(lambda: other.run_id in caplog.text, "it follows the other run")
    assert not its_own()
    lease = runs.start(other.run_id, 60)
    assert lease is not None
    runs.finish(lease, RunState.FAILED, error=InvalidRequest("It can't be learned from.").detail())
    wait_until(its_own, "it trains one of its own", seconds=60)


def test_an_empty_request_trains_on_the_bundled_data(gateway: httpx.Client, volume: Volume) -> None:
    record = gateway.post("/train", json={}).json()
    assert record["request"]["dataset"] == DEFAULT_DATASET
    assert volume.card(record["dataset_id"]).report.statistics.rows >= 150


def test_a_stored_dataset_is_trained_on_by_its_id(gateway: httpx.Client) -> None:
    card = gateway.post("/datasets", content=JSONL).json()
    record = gateway.post("/train", json={"dataset": card["dataset_id"]}).json()
    assert record["dataset_id"] == card["dataset_id"]


@pytest.mark.parametrize("dataset", ["d-unknown", "../../etc", "", ".."])
def test_an_unknown_dataset_is_404(gateway: httpx.Client, runs: RunStore, dataset: str) -> None:
    error_of(gateway.post("/train", json={"dataset": dataset}), 404, "not_found")
    assert runs.active_count() == 0


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({"preset": "huge"}, "invalid_request", "quick-start"),
        ({"rows": []}, "invalid_request", "at least 1"),
        ({"rows": [{"prompt": "p"}]}, "invalid_request", "required"),
        ({"rows": [{"prompt": "p", "code": " "}]}, "invalid_dataset", "blank"),
        ({"rows": [{"prompt": "a\x00", "code": "c"}] * 2}, "invalid_dataset", "NUL"),
        ({"rows": [{"prompt": "p", "code": "c"}]}, "invalid_dataset", "two different prompts"),
        ({"rows": [{"prompt": "p", "code": c} for c in "abc"]}, "invalid_dataset", "two different prompts"),
        ({"rows": [{"prompt": p, "code": "x" * 600} for p in "ab"]}, "invalid_dataset", "longer than the context"),
        ({"rows": BODY_ROWS, "dataset": "d-1"}, "invalid_request", "not both"),
        ({"max_steps": 0}, "invalid_request", "1"),
        ({"learning_rate": -1}, "invalid_request", "0"),
        ({"steps": 5}, "invalid_request", "not permitted"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_a_run_is_recorded(
    gateway: httpx.Client, runs: RunStore, body: dict[str, Any], code: str, says: str
) -> None:
    error = error_of(gateway.post("/train", json=body), 422, code)
    assert says in error["message"]
    assert error["param"]
    assert runs.active_count() == 0


def test_the_same_idempotency_key_gives_the_same_run(gateway: httpx.Client) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = gateway.post("/train", json={"rows": BODY_ROWS}, headers=headers)
    again = gateway.post("/train", json={"rows": BODY_ROWS}, headers=headers)
    assert again.status_code == 202
    assert again.json() == first.json()
    other = gateway.post("/train", json={"rows": BODY_ROWS, "seed": 2}, headers=headers)
    assert error_of(other, 409, "conflict")["param"] == "Idempotency-Key"


def test_one_run_more_than_may_be_queued_is_429(gateway: httpx.Client) -> None:
    for _ in range(4):
        assert gateway.post("/train", json={"rows": BODY_ROWS}).status_code == 202
    error_of(gateway.post("/train", json={"rows": BODY_ROWS}), 429, "queue_full")


def test_a_queued_run_is_cancelled_and_an_ended_one_cannot_be(gateway: httpx.Client) -> None:
    run_id = gateway.post("/train", json={"rows": BODY_ROWS}).json()["run_id"]
    assert gateway.delete(f"/train/{run_id}").json()["state"] == "cancelled"
    error_of(gateway.delete(f"/train/{run_id}"), 409, "conflict")


@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("DELETE", ""), ("GET", "/events")])
def test_an_unknown_run_is_404(gateway: httpx.Client, method: str, suffix: str) -> None:
    error_of(gateway.request(method, f"/train/r-unknown{suffix}"), 404, "not_found")


def test_without_redis_runs_are_503_and_generating_goes_on(door: Door) -> None:
    gateway = door(redis_url=f"redis://127.0.0.1:{free_port()}/0")
    for response in (
        gateway.get("/train"),
        gateway.get("/train/r-1"),
        gateway.get("/train/r-1/events"),
        gateway.delete("/train/r-1"),
        gateway.post("/train", json={"rows": BODY_ROWS}),
    ):
        error_of(response, 503, "redis_unavailable")
    assert gateway.post("/generate", json={"prompt": "p"}).status_code == 200
    assert gateway.get("/readyz").status_code == 200
    health = gateway.get("/health")
    assert (health.status_code, health.json()["status"], health.json()["redis"]) == (200, "degraded", "unavailable")


# -- events


def sent_events(response: httpx.Response) -> list[dict[str, str]]:
    blocks = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_the_events_of_an_ended_run_are_sent_and_the_stream_ends(gateway: httpx.Client, runs: RunStore) -> None:
    run_id = gateway.post("/train", json={"rows": BODY_ROWS}).json()["run_id"]
    lease = runs.start(run_id, 30)
    assert lease is not None
    runs.finish(lease, RunState.SUCCEEDED)

    response = gateway.get(f"/train/{run_id}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    events = sent_events(response)
    assert [json.loads(event["data"])["data"]["state"] for event in events] == ["queued", "running", "succeeded"]
    assert {event["event"] for event in events} == {"state"}

    rest = sent_events(gateway.get(f"/train/{run_id}/events", headers={"Last-Event-ID": events[0]["id"]}))
    assert rest == events[1:]


@pytest.mark.parametrize("last", ["x", "1-", "-1", "1-2-3", "99999999999999999999", "0-99999999999999999999", "(1"])
def test_a_last_event_id_that_is_none_is_422(gateway: httpx.Client, last: str) -> None:
    run_id = gateway.post("/train", json={"rows": BODY_ROWS}).json()["run_id"]
    gateway.delete(f"/train/{run_id}")
    error_of(gateway.get(f"/train/{run_id}/events", headers={"Last-Event-ID": last}), 422, "invalid_request")


def test_one_follower_too_many_is_429_and_one_that_leaves_makes_room(door: Door) -> None:
    gateway = door(max_event_streams=1)
    url = f"/train/{gateway.post('/train', json={'rows': BODY_ROWS}).json()['run_id']}/events"
    with gateway.stream("GET", url) as following:
        lines = following.iter_lines()
        assert next(lines)
        error_of(gateway.get(url), 429, "queue_full")

    def let_in() -> bool:
        with gateway.stream("GET", url) as response:
            return response.status_code == 200

    wait_until(let_in, "the follower's place is free again", seconds=10)


# -- datasets


def test_an_upload_is_stored_once_and_its_report_comes_back(gateway: httpx.Client, volume: Volume) -> None:
    response = gateway.post("/datasets?name=mine", content=JSONL, headers={"Content-Type": "application/x-ndjson"})
    assert response.status_code == 201
    card = response.json()
    assert (card["name"], card["report"]["errors"]) == ("mine", 0)
    assert card["report"]["statistics"]["rows"] == len(ROWS)
    assert (volume.dataset(card["dataset_id"]) / "rows.jsonl").read_text() == JSONL
    again = gateway.post("/datasets?name=other", content=JSONL)
    assert again.json()["dataset_id"] == card["dataset_id"]
    assert again.json()["name"] == "mine"


def stored(volume: Volume) -> list[Path]:
    """Everything in the datasets folder, half-written things too."""
    return list(volume.datasets.iterdir()) if volume.datasets.exists() else []


def test_a_broken_line_is_named_and_nothing_is_stored(gateway: httpx.Client, volume: Volume) -> None:
    lines = JSONL.splitlines()
    lines[2] = '{"prompt": "cut off'
    response = gateway.post("/datasets", content="\n".join(lines))
    error = error_of(response, 422, "invalid_dataset")
    assert error["message"].startswith("Line 3: not JSON")
    assert response.json()["report"]["problems"][0]["line"] == 3
    assert stored(volume) == []


def test_every_bad_row_is_counted_and_the_first_is_told(gateway: httpx.Client) -> None:
    body = (
        JSONL.encode()
        + b'{"prompt": "p"}\n{"prompt": "p", "code": ""}\n\xff\n[1]\n{"prompt": "a\\u0000", "code": "c"}\n'
    )
    response = gateway.post("/datasets", content=body)
    error = error_of(response, 422, "invalid_dataset")
    assert error["message"].startswith(f"5 rows are bad, so nothing was stored; the first is line {len(ROWS) + 1}: ")
    kinds = [problem["kind"] for problem in response.json()["report"]["problems"]]
    assert kinds == ["key_missing", "blank", "invalid_utf8", "not_an_object", "nul_character"]


def test_good_rows_are_kept_when_asked_although_some_are_bad(gateway: httpx.Client, volume: Volume) -> None:
    response = gateway.post("/datasets?skip_bad_rows=true", content=JSONL + "broken\n")
    assert response.status_code == 201
    assert response.json()["report"]["errors"] == 1
    assert (volume.dataset(response.json()["dataset_id"]) / "rows.jsonl").read_text() == JSONL


@pytest.mark.parametrize("body", [b"", b"\n\n  \n"], ids=["nothing", "blank"])
def test_an_empty_file_is_one_sentence(gateway: httpx.Client, volume: Volume, body: bytes) -> None:
    error = error_of(gateway.post("/datasets", content=body), 422, "invalid_dataset")
    assert "empty" in error["message"] or "no rows" in error["message"]
    assert stored(volume) == []


def test_a_csv_with_the_wrong_header_says_what_it_has_and_needs(gateway: httpx.Client, volume: Volume) -> None:
    response = gateway.post("/datasets?format=csv&name=mine", content="question,answer\na,b\n")
    error = error_of(response, 422, "invalid_dataset")
    assert "question, answer" in error["message"]
    assert "needs prompt and code" in error["message"]
    assert ".upload-" not in error["message"], "the name of a temporary file says nothing to a user"
    assert stored(volume) == []


def test_a_csv_is_read_as_rows(gateway: httpx.Client) -> None:
    response = gateway.post("/datasets?format=csv", content='prompt,code,more\na,"x, y",1\nb,z,2\n')
    assert response.status_code == 201
    assert response.json()["report"]["statistics"]["rows"] == 2


def test_a_file_that_is_no_sqlite_is_one_sentence(gateway: httpx.Client) -> None:
    error = error_of(gateway.post("/datasets?format=sqlite", content=JSONL), 422, "invalid_dataset")
    assert "SQLite" in error["message"]


@pytest.mark.parametrize("query", ["name=../x", "name=a/b", "format=xml", "context_length=1", "skip_bad_rows=perhaps"])
def test_an_invalid_query_is_422(gateway: httpx.Client, volume: Volume, query: str) -> None:
    error = error_of(gateway.post(f"/datasets?{query}", content=JSONL), 422, "invalid_request")
    assert error["param"] == f"query.{query.split('=')[0]}"
    assert stored(volume) == []


def test_a_form_is_told_how_to_send_a_file(gateway: httpx.Client, volume: Volume) -> None:
    response = gateway.post("/datasets", files={"file": ("rows.jsonl", JSONL)})
    error = error_of(response, 415, "unsupported_media_type")
    assert "--data-binary" in error["message"]
    assert stored(volume) == []


# -- too large


TOO_LARGE = b'{"prompt": "p", "code": "c"}\n' * 10_000
"""290 kB; the limit is 200 kB."""


def test_an_upload_over_the_limit_is_413_and_stores_nothing(gateway: httpx.Client, volume: Volume) -> None:
    error = error_of(gateway.post("/datasets", content=TOO_LARGE), 413, "too_large")
    assert "0.2 MB" in error["message"]
    assert "TINYGPT_MAX_UPLOAD_MB" in error["message"]
    assert stored(volume) == []


def test_a_chunked_upload_over_the_limit_is_413_and_stores_nothing(gateway: httpx.Client, volume: Volume) -> None:
    def chunks() -> Iterator[bytes]:
        for start in range(0, len(TOO_LARGE), 10_000):
            yield TOO_LARGE[start : start + 10_000]

    response = gateway.post("/datasets", content=chunks())
    assert "content-length" not in response.request.headers
    error_of(response, 413, "too_large")
    wait_until(lambda: stored(volume) == [], "the part is removed")


def test_a_chunked_json_body_over_a_megabyte_is_413(door: Door) -> None:
    """Whatever the limit on uploads."""
    gateway = door(max_upload_mb=4.0)

    def chunks() -> Iterator[bytes]:
        yield b'{"prompt": "'
        for _ in range(110):
            yield b"x" * 10_000
        yield b'"}'

    response = gateway.post("/generate", content=chunks(), headers={"Content-Type": "application/json"})
    error_of(response, 413, "too_large")


def test_the_bundled_dataset_may_be_uploaded_with_rows_of_ones_own() -> None:
    assert bundled_rows("bundled").stat().st_size < 0.9e6 * GatewaySettings.model_fields["max_upload_mb"].default


def test_a_client_that_asks_first_is_refused_before_it_sends(gateway: httpx.Client) -> None:
    connection = http.client.HTTPConnection(str(gateway.base_url.host), gateway.base_url.port, timeout=10)
    connection.putrequest("POST", "/datasets")
    connection.putheader("Content-Length", str(50_000_000))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    assert json.loads(response.read())["error"]["code"] == "too_large"
    connection.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_everything_before_it_listens_still_hears_the_refusal(door: Door, chunked: bool) -> None:
    gateway = door(max_upload_mb=4.0)
    connection = http.client.HTTPConnection(str(gateway.base_url.host), gateway.base_url.port, timeout=10)
    connection.request("POST", "/datasets", body=[bytes(12_000_000)] if chunked else bytes(12_000_000))
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["error"]["code"]) == (413, "too_large")
    connection.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("extra", [[], ["-H", "Expect:"], ["-H", "Transfer-Encoding: chunked"]], ids=str)
def test_curl_shows_the_sentence_for_a_file_far_over_the_limit(
    gateway: httpx.Client, tmp_path: Path, extra: list[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(TOO_LARGE * 20)
    command = ["curl", "-sS", "--noproxy", "*", *extra, "--data-binary", f"@{file}", f"{gateway.base_url}/datasets"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert '"too_large"' in shown.stdout, shown.stderr


def test_an_upload_that_breaks_off_leaves_nothing(gateway: httpx.Client, volume: Volume) -> None:
    address = (str(gateway.base_url.host), gateway.base_url.port or 0)
    with socket.create_connection(address) as leaving:
        leaving.sendall(b"POST /datasets HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + JSONL.encode())
        wait_until(lambda: stored(volume), "the upload begins")
    wait_until(lambda: stored(volume) == [], "the part is removed", seconds=5)


# -- models


def test_models_are_listed_newest_first_with_the_one_that_is_served(
    gateway: httpx.Client, volume: Volume, store_model: StoreModel
) -> None:
    assert gateway.get("/models").json() == {"models": []}
    for run_id in ("r-1", "r-2"):
        store_model(run_id)
    volume.promote("r-1")
    models = gateway.get("/models").json()["models"]
    assert [(model["model_id"], model["current"]) for model in models] == [("r-2", False), ("r-1", True)]
    assert models[0]["metrics"]["validation_loss"] > 0
    assert models[0]["hyperparameters"]["layers"] == 1
    assert models[0]["evaluation"] == EVALUATION.model_dump()


def test_a_model_is_promoted_by_hand_and_previous_goes_back(
    gateway: httpx.Client, volume: Volume, store_model: StoreModel
) -> None:
    for run_id in ("r-1", "r-2"):
        store_model(run_id)
        assert gateway.post(f"/models/{run_id}/promote").json()["run_id"] == run_id
    back = gateway.post("/models/previous/promote")
    assert (back.status_code, back.json()["run_id"], back.json()["previous"]) == (200, "r-1", "r-2")
    current = volume.current()
    assert current is not None
    assert current.run_id == "r-1"


@pytest.mark.parametrize("run_id", ["r-unknown", "previous", "..%2Fx", "%2e%2e", ".x"])
def test_a_model_that_is_not_there_cannot_be_promoted(gateway: httpx.Client, run_id: str) -> None:
    error_of(gateway.post(f"/models/{run_id}/promote"), 404, "not_found")


# -- keys and rates


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/generate", "generate"),
        ("POST", "/explain", "generate"),
        ("GET", "/v1/models", "generate"),
        ("POST", "/v1/completions", "generate"),
        ("POST", "/v1/chat/completions", "generate"),
        ("GET", "/models", "generate"),
        ("POST", "/train", "train"),
        ("GET", "/train", "train"),
        ("GET", "/train/r-1", "train"),
        ("DELETE", "/train/r-1", "train"),
        ("GET", "/train/r-1/events", "train"),
        ("POST", "/datasets", "train"),
        ("POST", "/models/r-1/promote", "train"),
    ],
)
def test_with_keys_every_endpoint_asks_for_one_with_its_scope(door: Door, method: str, path: str, scope: str) -> None:
    gateway = door(api_keys=SecretStr("g-key:generate;t-key:train"))
    right, wrong = (f"Bearer {key}" for key in (("g-key", "t-key") if scope == "generate" else ("t-key", "g-key")))

    def ask(authorization: str | None) -> httpx.Response:
        headers = {"Authorization": authorization} if authorization else {}
        return gateway.request(method, path, headers=headers, json={"prompt": "p"} if path == "/generate" else None)

    none = ask(None)
    error_of(none, 401, "missing_api_key")
    assert none.headers["WWW-Authenticate"] == "Bearer"
    error_of(ask(wrong), 403, "scope_missing")
    assert ask(right).status_code not in (401, 403)


def test_probes_need_no_key(door: Door) -> None:
    gateway = door(api_keys=SecretStr("g-key:generate"))
    for path in ("/livez", "/readyz", "/health"):
        assert gateway.get(path).status_code == 200


def test_more_than_the_rate_is_429_with_the_seconds_to_wait(door: Door) -> None:
    gateway = door(rate_limit="2/minute")
    for _ in range(2):
        assert gateway.post("/generate", json={"prompt": "p"}).status_code == 200
    response = gateway.post("/generate", json={"prompt": "p"})
    error_of(response, 429, "rate_limited")
    assert 1 <= int(response.headers["Retry-After"]) <= 61


# -- probes


def test_a_gateway_that_serves_is_live_ready_and_healthy(gateway: httpx.Client) -> None:
    assert gateway.get("/livez").json()["status"] == "ok"
    assert gateway.get("/readyz").json() == {"status": "ok"}
    health = gateway.get("/health").json()
    assert (health["status"], health["redis"], health["queued_runs"]) == ("ok", "ok", 0)
    assert next(iter(health["model_servers"].values()))["status"] == "ok"


@pytest.mark.parametrize(
    ("upstream", "code"),
    [(unreachable, "model_server_unavailable"), (refusing(NoModel("no model yet")), "no_model")],
    ids=["unreachable", "no_model"],
)
def test_a_gateway_that_cannot_generate_is_live_but_not_ready(door: Door, upstream: Upstream, code: str) -> None:
    gateway = door(upstream)
    assert gateway.get("/livez").status_code == 200
    error_of(gateway.get("/readyz"), 503, code)
    health = gateway.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "unavailable")
    assert health.json()["reason"]


def test_a_stopping_gateway_is_not_ready(gateway_settings: GatewaySettings) -> None:
    app = create_app(gateway_settings, transport=httpx.MockTransport(model_server))
    with serving(app) as url, httpx.Client(base_url=url, trust_env=False) as gateway:
        app.state.gateway.draining.set()
        error_of(gateway.get("/readyz"), 503, "draining")
        assert gateway.get("/health").status_code == 503


def test_requests_are_counted_by_route_and_status(door: Door) -> None:
    gateway = door()
    gateway.get("/train/r-unknown")
    gateway.get("/nowhere")
    metrics = gateway.get("/metrics").text
    assert 'tinygpt_http_requests_total{method="GET",route="/train/{run_id}",status="404"} 1.0' in metrics
    assert 'route="unmatched",status="404"} 1.0' in metrics


# -- every response


def test_a_request_id_is_passed_through_and_one_is_made_where_there_is_none(gateway: httpx.Client) -> None:
    mine = gateway.get("/livez", headers={"X-Request-Id": "abc-123"})
    assert mine.headers["X-Request-Id"] == "abc-123"
    made = {gateway.get("/livez").headers["X-Request-Id"] for _ in range(2)}
    assert len(made) == 2


@pytest.mark.parametrize("bad", [b"x" * 129, "café".encode("latin-1"), b"a\tb"], ids=["long", "latin", "control"])
def test_a_request_id_that_could_spoil_a_log_is_replaced(gateway: httpx.Client, bad: bytes) -> None:
    response = gateway.get("/nowhere", headers=httpx.Headers([(b"X-Request-Id", bad)]))
    assert re.fullmatch("[0-9a-f]{32}", error_of(response, 404, "not_found")["request_id"])


def test_what_is_not_there_says_where_to_look(gateway: httpx.Client) -> None:
    assert "/docs" in error_of(gateway.get("/"), 404, "not_found")["message"]
    assert "/docs" in error_of(gateway.get("/generate"), 405, "method_not_allowed")["message"]


def test_a_bug_is_500_in_the_same_shape_without_its_trace(door: Door) -> None:
    async def surprise(request: httpx.Request) -> httpx.Response:
        raise RuntimeError("secret detail")

    response = door(surprise).post("/generate", json={"prompt": "p"}, headers={"X-Request-Id": "mine"})
    error = error_of(response, 500, "internal_error")
    assert error["request_id"] == "mine"
    assert "secret detail" not in response.text


# -- documentation


def test_openapi_has_an_example_for_every_body(gateway: httpx.Client) -> None:
    specification = gateway.get("/openapi.json").json()
    schemas = specification["components"]["schemas"]
    bodies = 0
    for path, operations in specification["paths"].items():
        for method, operation in operations.items():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                bodies += 1
                schema = media.get("schema", {})
                schema = schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
                assert media.get("example") or media.get("examples") or schema.get("examples"), (method, path)
    assert bodies >= 4


@pytest.mark.parametrize("path", ["/generate", "/v1/completions", "/v1/chat/completions"])
def test_openapi_tells_of_the_answer_and_of_its_stream(gateway: httpx.Client, path: str) -> None:
    answer = gateway.get("/openapi.json").json()["paths"][path]["post"]["responses"]["200"]
    assert set(answer["content"]) == {"application/json", "text/event-stream"}


def test_the_examples_are_accepted(gateway: httpx.Client) -> None:
    schemas = gateway.get("/openapi.json").json()["components"]["schemas"]
    for path, name in (
        ("/generate", "GenerateRequest"),
        ("/explain", "ExplainRequest"),
        ("/v1/completions", "CompletionRequest"),
        ("/v1/chat/completions", "ChatCompletionRequest"),
    ):
        for example in schemas[name]["examples"]:
            assert gateway.post(path, json=example).status_code == 200
    assert gateway.post("/train", json=schemas["TrainRequest"]["examples"][0]).status_code == 202


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_documentation_loads_nothing_from_outside(gateway: httpx.Client, page: str) -> None:
    html = gateway.get(page)
    assert html.status_code == 200
    loaded = re.findall(r"""(?:src|href|url)\s*[=:(]\s*["']?([^"'\s>)]+)""", html.text)
    assert loaded
    assert [address for address in loaded if "//" in address] == []
    for address in loaded:
        if address.startswith("/"):
            assert gateway.get(address).status_code == 200, address
