"""`POST /datasets`: uploads, and what is wrong with them."""

import contextlib
import socket

import httpx
import pytest

from services.gateway.settings import GatewaySettings
from tests.conftest import wait_until
from tests.services.conftest import ROWS
from tests.services.gateway.conftest import JSONL, error_of, stored
from tinygpt.data.bundled import bundled_card
from tinygpt.runtime.volume import Volume


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


def test_the_bundled_dataset_may_be_uploaded_with_rows_of_ones_own() -> None:
    card = bundled_card("bundled")
    assert card is not None
    assert card.size_bytes < 0.9e6 * GatewaySettings.model_fields["max_upload_mb"].default


def test_an_upload_that_breaks_off_leaves_nothing(gateway: httpx.Client, volume: Volume) -> None:
    address = (str(gateway.base_url.host), gateway.base_url.port or 0)
    with socket.create_connection(address) as leaving:
        leaving.sendall(b"POST /datasets HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + JSONL.encode())
        wait_until(lambda: stored(volume), "the upload begins")
    wait_until(lambda: stored(volume) == [], "the part is removed", seconds=5)


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_rows_are_written_once_while_they_are_received(gateway: httpx.Client, volume: Volume, format: str) -> None:
    """Nothing but the rows themselves lies on the volume before the last byte has come."""
    lines = JSONL if format == "jsonl" else "prompt,code\na,1\nb,2\n"
    address = (str(gateway.base_url.host), gateway.base_url.port or 0)
    with socket.create_connection(address) as sending:
        head = (
            f"POST /datasets?format={format} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(lines.encode()) + 1}\r\n\r\n"
        )
        sending.sendall(head.encode() + lines.encode())
        wait_until(lambda: [path for folder in stored(volume) for path in folder.iterdir()], "rows are written")
        (folder,) = stored(volume)
        assert [path.name.startswith(".rows.jsonl.") for path in folder.iterdir()] == [True]
        sending.sendall(b"\n")
        assert b"201 Created" in sending.recv(2000)


def test_slow_uploads_take_no_threads_from_other_requests(gateway: httpx.Client, volume: Volume) -> None:
    address = (str(gateway.base_url.host), gateway.base_url.port or 0)
    with contextlib.ExitStack() as sending:
        for _ in range(45):
            connection = sending.enter_context(socket.create_connection(address))
            connection.sendall(b"POST /datasets HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + JSONL.encode())
        wait_until(lambda: len(stored(volume)) == 40, "as many uploads are read as may be at once")
        assert gateway.get("/train", timeout=5).status_code == 200
    wait_until(lambda: stored(volume) == [], "the uploads are removed")
