"""Responses: a model as JSON, and the one shape that every error has."""

from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.responses import Response

from tinygpt.contracts.errors import ErrorBody, TinyGPTError, Unauthenticated
from tinygpt.http.request_id import current_request_id


def json_response(model: BaseModel) -> Response:
    """`model` as JSON. Returning the model itself would make FastAPI validate and copy it first."""
    return Response(model.model_dump_json(), media_type="application/json")


def error_response(error: TinyGPTError, *, status: int | None = None) -> JSONResponse:
    """The response to a request that failed. `status` replaces the error's own."""
    headers = {"Retry-After": str(max(1, round(error.retry_after)))} if error.retry_after is not None else {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 11.6.1
    body = error_body(error).model_dump(mode="json")
    return JSONResponse({**body, **error.extra}, status_code=status or error.status, headers=headers)


def error_body(error: TinyGPTError) -> ErrorBody:
    """What a client reads about the error, with the id of the current request."""
    return ErrorBody(error=error.detail(current_request_id()))
