"""Bodies over the limit: refused at once or while they come, by clients of every kind."""

import http.client
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import wait_until
from tests.services.gateway.conftest import StartGateway, error_of, stored
from tinygpt.runtime.volume import Volume

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


def test_a_chunked_json_body_over_a_megabyte_is_413(start_gateway: StartGateway) -> None:
    """Whatever the limit on uploads."""
    gateway = start_gateway(max_upload_mb=4.0)

    def chunks() -> Iterator[bytes]:
        yield b'{"prompt": "'
        for _ in range(110):
            yield b"x" * 10_000
        yield b'"}'

    response = gateway.post("/generate", content=chunks(), headers={"Content-Type": "application/json"})
    error_of(response, 413, "too_large")


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
def test_a_client_that_sends_everything_before_it_listens_still_hears_the_refusal(
    start_gateway: StartGateway, chunked: bool
) -> None:
    gateway = start_gateway(max_upload_mb=4.0)
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
