"""Request ids: `X-Request-Id` is taken from the client or made here, and goes into every log line and error."""

import random

from asgi_correlation_id import correlation_id
from structlog.typing import EventDict, WrappedLogger

REQUEST_ID = "X-Request-Id"
_MAX_LENGTH = 128


def random_id() -> str:
    """32 hexadecimal digits. They name a request and protect nothing, so they need no cryptographic randomness."""
    return f"{random.getrandbits(128):032x}"


def is_request_id(value: str) -> bool:
    """True if a client's id can go into logs and headers as it is; otherwise the request gets a new one."""
    return len(value) <= _MAX_LENGTH and value.isprintable() and value.isascii()


def current_request_id() -> str | None:
    """The id of the current request; None outside a request."""
    return correlation_id.get()


def add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor that adds the id of the current request."""
    request_id = current_request_id()
    if request_id is not None:
        event.setdefault("request_id", request_id)
    return event
