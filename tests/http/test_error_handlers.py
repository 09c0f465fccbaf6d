"""Every exception becomes a response of the same shape, wherever in the app it is raised."""

import contextlib
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from tests.services.conftest import serving
from tinygpt.contracts.errors import NoModel, Unauthenticated
from tinygpt.http.app import make_app
from tinygpt.http.metrics import HttpMetrics

router = APIRouter()


class Body(BaseModel):
    number: int
    text: str


@router.post("/invalid")
@router.post("/v1/invalid")
def invalid(_body: Body) -> None: ...


@router.get("/raise/{what}")
def fail(what: str) -> None:
    raise {
        "own": NoModel("There is no model yet.", retry_after=3.4),
        "key": Unauthenticated("Send a key."),
        "teapot": HTTPException(418, "I'm a teapot"),
        "gateway": HTTPException(502, "Bad gateway"),
        "gone": ClientDisconnect(),
        "bug": ZeroDivisionError("secret"),
    }[what]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield

    app = make_app(title="test", lifespan=lifespan, routers=[router], metrics=HttpMetrics(CollectorRegistry()))
    with serving(app) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    """A connection of its own, because uvicorn closes one on which a bug was met."""
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    ("what", "status", "code"),
    [
        ("own", 503, "no_model"),
        ("key", 401, "missing_api_key"),
        ("teapot", 400, "malformed_request"),
        ("gateway", 500, "internal_error"),
        ("gone", 499, "client_gone"),
        ("bug", 500, "internal_error"),
    ],
)
def test_an_exception_has_its_status_its_code_and_the_requests_id(
    client: httpx.Client, what: str, status: int, code: str
) -> None:
    response = client.get(f"/raise/{what}", headers={"X-Request-Id": "mine"})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["request_id"]) == (status, code, "mine")
    assert response.headers["X-Request-Id"] == "mine"
    assert "secret" not in response.text


def test_headers_say_when_to_retry_and_how_to_authenticate(client: httpx.Client) -> None:
    assert client.get("/raise/own").headers["Retry-After"] == "3"
    assert client.get("/raise/key").headers["WWW-Authenticate"] == "Bearer"


def test_the_first_invalid_field_is_named_and_the_others_are_counted(client: httpx.Client) -> None:
    error = client.post("/invalid", json={"number": "many", "text": 5}).json()["error"]
    assert error["param"] == "number"
    assert error["message"].endswith("not 'many' (1 more fields are invalid too).")


def test_an_invalid_request_is_422_but_400_under_openais_paths(client: httpx.Client) -> None:
    for path, status in (("/invalid", 422), ("/v1/invalid", 400)):
        response = client.post(path, json={})
        assert (response.status_code, response.json()["error"]["code"]) == (status, "invalid_request")
