"""Request ids and the one shape of errors, whatever is asked."""

import re

import httpx
import pytest

from tests.services.gateway.conftest import StartGateway, error_of


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


def test_a_bug_is_500_in_the_same_shape_without_its_trace(start_gateway: StartGateway) -> None:
    async def surprise(request: httpx.Request) -> httpx.Response:
        raise RuntimeError("secret detail")

    response = start_gateway(surprise).post("/generate", json={"prompt": "p"}, headers={"X-Request-Id": "mine"})
    error = error_of(response, 500, "internal_error")
    assert error["request_id"] == "mine"
    assert "secret detail" not in response.text
