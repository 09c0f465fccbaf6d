"""What `/docs` says about the endpoints that both services have. The gateway's are the model server's, passed on.

@router.post(**GENERATE)
async def generate(body: GenerateRequest, ...) -> Response: ...
"""

from typing import Any, Required, TypedDict

from pydantic import BaseModel

from tinygpt.contracts.explain import Explanation
from tinygpt.contracts.generation import GenerateResponse


class Endpoint(TypedDict, total=False):
    """Arguments of FastAPI's `router.get` and `router.post`."""

    path: Required[str]
    summary: Required[str]
    description: str
    response_model: type[BaseModel]
    responses: dict[int | str, dict[str, Any]]


OR_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer, or with `stream` its events: docs/api.md has their format.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
"""`responses` of an endpoint that may answer with a stream."""

GENERATE = Endpoint(
    path="/generate",
    summary="Turn a prompt into Python code",
    response_model=GenerateResponse,
    responses=OR_STREAM,
)
EXPLAIN = Endpoint(
    path="/explain",
    summary="Every step of an answer: candidates, entropy, attention",
    response_model=Explanation,
)
LIVEZ = Endpoint(path="/livez", summary="Is the process alive?")
READYZ = Endpoint(path="/readyz", summary="Would it serve now?")


def health_endpoint(body: type[BaseModel]) -> Endpoint:
    """`GET /health`: each service answers with a body of its own, with 200 or with 503."""
    return Endpoint(
        path="/health", summary="Readiness, with metadata", response_model=body, responses={503: {"model": body}}
    )
