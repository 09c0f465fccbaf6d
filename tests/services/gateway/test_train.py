"""`/train`: starting, listing and cancelling runs, and what can't be trained."""

from typing import Any

import httpx
import pytest

from tests.conftest import free_port
from tests.services.gateway.conftest import BODY_ROWS, JSONL, StartGateway, error_of
from tinygpt.contracts.runs import DEFAULT_DATASET
from tinygpt.data.bundled import bundled_card
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.volume import Volume


def test_a_run_is_accepted_recorded_and_queued(gateway: httpx.Client, runs: RunStore) -> None:
    response = gateway.post("/train", json={"rows": BODY_ROWS, "max_steps": 3, "seed": 1})
    assert response.status_code == 202
    record = response.json()
    assert (record["state"], record["request"]["rows"], record["request"]["max_steps"]) == ("queued", None, 3)
    assert record["request"]["dataset"] == record["dataset_id"]
    assert gateway.get(f"/train/{record['run_id']}").json() == record
    assert gateway.get("/train").json()["runs"] == [record]
    assert [stored.run_id for stored in runs.active()] == [record["run_id"]]


def test_an_empty_request_trains_on_the_bundled_data_and_stores_nothing(gateway: httpx.Client, volume: Volume) -> None:
    record = gateway.post("/train", json={}).json()
    assert record["request"]["dataset"] == DEFAULT_DATASET
    card = bundled_card(record["dataset_id"])
    assert card is not None
    assert card.name == DEFAULT_DATASET
    assert not list(volume.datasets.glob("*"))


@pytest.mark.parametrize("dataset", ["bundled", "curated"])
def test_the_bundled_data_are_trained_on_by_their_id_too(gateway: httpx.Client, dataset: str) -> None:
    by_name = gateway.post("/train", json={"dataset": dataset}).json()
    by_id = gateway.post("/train", json={"dataset": by_name["dataset_id"]})
    assert by_id.status_code == 202
    assert by_id.json()["dataset_id"] == by_name["dataset_id"]


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


def test_without_redis_runs_are_503_and_generate_still_answers(start_gateway: StartGateway) -> None:
    gateway = start_gateway(redis_url=f"redis://127.0.0.1:{free_port()}/0")
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
