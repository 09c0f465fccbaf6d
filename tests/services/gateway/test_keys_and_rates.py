"""API keys, their scopes and the rate limit, on every endpoint."""

import httpx
import pytest
from pydantic import SecretStr

from tests.services.gateway.conftest import StartGateway, error_of


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
def test_with_keys_every_endpoint_asks_for_one_with_its_scope(
    start_gateway: StartGateway, method: str, path: str, scope: str
) -> None:
    gateway = start_gateway(api_keys=SecretStr("g-key:generate;t-key:train"))
    right, wrong = (f"Bearer {key}" for key in (("g-key", "t-key") if scope == "generate" else ("t-key", "g-key")))

    def ask(authorization: str | None) -> httpx.Response:
        headers = {"Authorization": authorization} if authorization else {}
        return gateway.request(method, path, headers=headers, json={"prompt": "p"} if path == "/generate" else None)

    none = ask(None)
    error_of(none, 401, "missing_api_key")
    assert none.headers["WWW-Authenticate"] == "Bearer"
    error_of(ask(wrong), 403, "scope_missing")
    assert ask(right).status_code not in (401, 403)


def test_probes_need_no_key(start_gateway: StartGateway) -> None:
    gateway = start_gateway(api_keys=SecretStr("g-key:generate"))
    for path in ("/livez", "/readyz", "/health"):
        assert gateway.get(path).status_code == 200


def test_more_than_the_rate_is_429_with_the_seconds_to_wait(start_gateway: StartGateway) -> None:
    gateway = start_gateway(rate_limit="2/minute")
    for _ in range(2):
        assert gateway.post("/generate", json={"prompt": "p"}).status_code == 200
    response = gateway.post("/generate", json={"prompt": "p"})
    error_of(response, 429, "rate_limited")
    assert 1 <= int(response.headers["Retry-After"]) <= 61
