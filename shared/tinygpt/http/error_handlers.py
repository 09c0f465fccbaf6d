"""The one place where an exception becomes a response: ours, FastAPI's, Starlette's, and bugs."""

from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from tinygpt.contracts.errors import (
    ClientGone,
    InvalidRequest,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    TinyGPTError,
    UnsupportedMediaType,
)
from tinygpt.http.request_id import REQUEST_ID, current_request_id
from tinygpt.http.responses import error_response

_MAX_SHOWN_CHARACTERS = 40

log = structlog.get_logger()


def as_tinygpt_error(error: Exception) -> TinyGPTError:
    """The error itself if it belongs to our tree. Any other one is a bug: it is logged, and the client sees a 500."""
    if isinstance(error, TinyGPTError):
        return error
    log.error("bug", exc_info=error)
    return TinyGPTError("The server met a bug; its log has the trace under this request's id.")


async def _on_tinygpt_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TinyGPTError)
    return error_response(error, status=_status(request, error))


def _status(request: Request, error: TinyGPTError) -> int:
    """The error's own status, except under `/v1`: OpenAI's clients expect 400 where we have 422."""
    return 400 if error.status == 422 and request.url.path.startswith("/v1/") else error.status


async def _on_client_disconnect(_request: Request, _error: Exception) -> JSONResponse:
    return error_response(ClientGone("The client closed its connection before its request was read."))


async def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    invalid = _explained(error)
    return error_response(invalid, status=_status(request, invalid))


def _explained(error: RequestValidationError) -> InvalidRequest:
    """The first of the problems that FastAPI found, as one sentence that names the field."""
    problems = error.errors()
    first = problems[0]
    if first["loc"] == ("body",) and isinstance(error.body, bytes):  # not read as JSON, so there is no field to name
        message = "The body is read as JSON only: send it with the header `Content-Type: application/json`."
        return UnsupportedMediaType(message, param="Content-Type")
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "it can't be parsed")
        return MalformedRequest(f"The body is not JSON: {reason}.")
    location = [str(part) for part in first["loc"]]
    if location[0] == "body" and len(location) > 1:
        location = location[1:]
    field = ".".join(location)
    reason = first["msg"].removeprefix("Value error, ")
    more = f" ({len(problems) - 1} more fields are invalid too)" if len(problems) > 1 else ""
    message = f"{field}: {reason[:1].lower()}{reason[1:]}{_shown(first.get('input'))}{more}."
    return InvalidRequest(message, param=field)


def _shown(value: object) -> str:
    """The invalid value, if it is short enough to help."""
    short_text = isinstance(value, str) and len(value) < _MAX_SHOWN_CHARACTERS
    return f", not {value!r}" if short_text or isinstance(value, int | float | bool) else ""


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, TinyGPTError):
        return error_response(error.__cause__)
    requested = f"{request.method} {request.url.path}"
    match error.status_code:
        case 404:
            return error_response(NotFound(f"There is no {requested}: /docs lists what there is."))
        case 405:
            return error_response(MethodNotAllowed(f"{requested} is not possible: /docs lists what is."))
        case status if 400 <= status < 500:
            return error_response(MalformedRequest(f"{error.detail}."))
        case _:
            return error_response(TinyGPTError(str(error.detail)))


async def _on_bug(_request: Request, error: Exception) -> JSONResponse:
    """Starlette calls this outside all middleware, so the request id is added here."""
    response = error_response(as_tinygpt_error(error))
    response.headers[REQUEST_ID] = current_request_id() or ""
    return response


EXCEPTION_HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, JSONResponse]]] = {
    TinyGPTError: _on_tinygpt_error,
    ClientDisconnect: _on_client_disconnect,
    RequestValidationError: _on_invalid_request,
    HTTPException: _on_http_exception,
    Exception: _on_bug,
}
