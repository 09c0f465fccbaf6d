"""`/docs`, `/redoc` and the OpenAPI document."""

import re

import httpx
import pytest


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
