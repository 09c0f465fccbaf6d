"""Limits of the gateway at their edges: bodies of exactly the limit, the limit of each path, idempotency by dataset."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.services.conftest import ROWS
from tests.services.gateway.conftest import BODY_ROWS, StartGateway


def padded(body: dict[str, Any], size: int) -> bytes:
    """The body as JSON, with white space to exactly `size` bytes."""
    return json.dumps(body).encode().ljust(size)


def sent(client: httpx.Client, path: str, body: bytes, *, chunked: bool = False) -> httpx.Response:
    def chunks() -> Iterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    content = chunks() if chunked else body
    return client.post(path, content=content, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
@pytest.mark.parametrize(("path", "body"), [("/generate", {"prompt": "p"}), ("/explain", {"prompt": "p"})])
def test_a_body_of_exactly_a_megabyte_is_accepted_and_a_byte_more_is_not(
    start_gateway: StartGateway, path: str, body: dict[str, Any], chunked: bool
) -> None:
    client = start_gateway()

    assert sent(client, path, padded(body, 1_000_000), chunked=chunked).status_code == 200
    too_large = sent(client, path, padded(body, 1_000_001), chunked=chunked)

    assert too_large.status_code == 413
    assert too_large.json()["error"]["code"] == "too_large"
    assert "1 MB" in too_large.json()["error"]["message"]


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
@pytest.mark.parametrize("path", ["/train", "/datasets"])
def test_rows_have_the_limit_on_uploads_exactly(start_gateway: StartGateway, path: str, chunked: bool) -> None:
    client = start_gateway(max_upload_mb=1.25)

    def accepted(size: int) -> bool:
        rows = {"rows": BODY_ROWS}
        body = padded(rows, size) if path == "/train" else (ROWS[0].to_json() + "\n").encode().ljust(size, b"\n")
        response = sent(client, path, body, chunked=chunked)
        if response.status_code == 413:
            assert "TINYGPT_MAX_UPLOAD_MB" in response.json()["error"]["message"]
        return response.status_code != 413

    assert accepted(1_250_000)
    assert not accepted(1_250_001)


def test_a_smaller_limit_on_uploads_holds_for_rows_and_for_nothing_else(start_gateway: StartGateway) -> None:
    client = start_gateway(max_upload_mb=0.1)

    assert sent(client, "/train", padded({"rows": BODY_ROWS}, 100_001)).status_code == 413
    assert sent(client, "/generate", padded({"prompt": "p"}, 100_001)).status_code == 200


def test_rows_that_differ_under_one_idempotency_key_are_a_conflict(start_gateway: StartGateway) -> None:
    client = start_gateway()
    headers = {"Idempotency-Key": "k"}
    first = client.post("/train", json={"rows": BODY_ROWS}, headers=headers)
    again = client.post("/train", json={"rows": BODY_ROWS}, headers=headers)
    other = client.post("/train", json={"rows": BODY_ROWS[:-1]}, headers=headers)

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["run_id"] == first.json()["run_id"]
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")


def test_keys_with_their_scopes_and_rates_come_from_the_settings(start_gateway: StartGateway) -> None:
    client = start_gateway(api_keys=SecretStr("k1:generate;k2:train"), rate_limit="2/hour")

    def status(key: str) -> int:
        return client.post("/generate", json={"prompt": "p"}, headers={"Authorization": f"Bearer {key}"}).status_code

    assert [status("k1") for _ in range(3)] == [200, 200, 429]
    assert status("k2") == 403
    assert status("k3") == 401


def test_no_more_runs_than_the_setting_says_may_wait(start_gateway: StartGateway) -> None:
    client = start_gateway(max_queued_runs=2)

    statuses = [client.post("/train", json={"rows": BODY_ROWS, "seed": seed}).status_code for seed in range(3)]

    assert statuses == [202, 202, 429]
