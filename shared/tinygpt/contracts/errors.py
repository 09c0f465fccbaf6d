"""The one tree of errors. Each class carries its HTTP status, type and code; `tinygpt.http` turns it into a response.

TinyGPTError                       500 internal_error
├── InvalidRequest                 422 invalid_request
│   ├── ContextLengthExceeded      422 context_length_exceeded
│   ├── MalformedRequest           400 malformed_request
│   ├── TooLarge                   413 too_large
│   ├── UnsupportedMediaType       415 unsupported_media_type
│   └── InvalidDataset             422 invalid_dataset
├── Unauthenticated                401 missing_api_key
├── Forbidden                      403 scope_missing
├── NotFound                       404 not_found
│   └── ModelNotFound              404 model_not_found
├── MethodNotAllowed               405 method_not_allowed
├── Conflict                       409 conflict
├── ClientGone                     499 client_gone
├── TooManyRequests                429 rate_limited
│   └── QueueFull                  429 queue_full
├── Unavailable                    503 unavailable
│   ├── ModelLoading               503 loading
│   ├── NoModel                    503 no_model
│   ├── Draining                   503 draining
│   ├── DecoderUnusable            503 decoder_unusable
│   ├── RedisUnavailable           503 redis_unavailable
│   └── UpstreamUnavailable        503 model_server_unavailable
├── DeadlineExceeded               504 deadline_exceeded
├── StorageFull                    507 storage_full
├── InvalidCheckpoint              500 invalid_checkpoint
├── TrainingFailed                 500 training_failed
├── SandboxUnavailable             500 sandbox_unavailable
└── LeaseLost                      500 lease_lost
"""

from typing import Any, ClassVar

from pydantic import BaseModel, Field


class ErrorDetail(BaseModel):
    """What went wrong, in one sentence that says what to do, and the id to find it in the logs."""

    message: str
    type: str = Field(examples=["invalid_request_error"])
    code: str = Field(examples=["invalid_request"])
    param: str | None = Field(default=None, description="The field or header at fault, if there is one.")
    request_id: str | None = None


class ErrorBody(BaseModel):
    """Every error response of every service."""

    error: ErrorDetail


class TinyGPTError(Exception):
    """The root. `message` is one sentence for a person, `param` names the field at fault.

    `retry_after` (seconds) becomes the `Retry-After` header. Classes of errors that a client may retry have a default.
    `extra` is added beside `error` in the response body.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal_error"
    default_retry_after: ClassVar[float | None] = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after: float | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = self.default_retry_after if retry_after is None else retry_after
        self.extra = extra or {}

    @classmethod
    def from_detail(cls, detail: "ErrorDetail", *, retry_after: float | None = None) -> "TinyGPTError":
        """The error that another service reported, as the class that its code names."""
        kind = _by_code(TinyGPTError).get(detail.code, TinyGPTError)
        return kind(detail.message, param=detail.param, retry_after=retry_after)

    def detail(self, request_id: str | None = None) -> ErrorDetail:
        return ErrorDetail(
            message=self.message, type=self.type, code=self.code, param=self.param, request_id=request_id
        )


class InvalidRequest(TinyGPTError):
    status = 422
    type = "invalid_request_error"
    code = "invalid_request"


class ContextLengthExceeded(InvalidRequest):
    """The prompt leaves no room for an answer."""

    code = "context_length_exceeded"


class MalformedRequest(InvalidRequest):
    status = 400
    code = "malformed_request"


class TooLarge(InvalidRequest):
    status = 413
    code = "too_large"


class UnsupportedMediaType(InvalidRequest):
    status = 415
    code = "unsupported_media_type"


class InvalidDataset(InvalidRequest):
    code = "invalid_dataset"


class Unauthenticated(TinyGPTError):
    status = 401
    type = "authentication_error"
    code = "missing_api_key"


class Forbidden(TinyGPTError):
    status = 403
    type = "permission_error"
    code = "scope_missing"


class NotFound(TinyGPTError):
    status = 404
    type = "not_found_error"
    code = "not_found"


class ModelNotFound(NotFound):
    """OpenAI's API: a request names a model that is not served."""

    code = "model_not_found"


class MethodNotAllowed(TinyGPTError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class Conflict(TinyGPTError):
    status = 409
    type = "conflict_error"
    code = "conflict"


class ClientGone(TinyGPTError):
    """The client closed its connection. Only the log shows this (nginx's 499)."""

    status = 499
    type = "client_error"
    code = "client_gone"


class TooManyRequests(TinyGPTError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limited"
    default_retry_after = 1.0


class QueueFull(TooManyRequests):
    code = "queue_full"


class Unavailable(TinyGPTError):
    status = 503
    type = "unavailable_error"
    code = "unavailable"
    default_retry_after = 2.0


class ModelLoading(Unavailable):
    code = "loading"


class NoModel(Unavailable):
    code = "no_model"


class Draining(Unavailable):
    code = "draining"


class DecoderUnusable(Unavailable):
    """A model's decoder failed for good. The model is loaded again."""

    code = "decoder_unusable"


class RedisUnavailable(Unavailable):
    code = "redis_unavailable"


class UpstreamUnavailable(Unavailable):
    code = "model_server_unavailable"


class DeadlineExceeded(TinyGPTError):
    status = 504
    type = "timeout_error"
    code = "deadline_exceeded"


class StorageFull(TinyGPTError):
    status = 507
    code = "storage_full"


class InvalidCheckpoint(TinyGPTError):
    code = "invalid_checkpoint"


class TrainingFailed(TinyGPTError):
    code = "training_failed"


class SandboxUnavailable(TinyGPTError):
    """This machine has no sandbox for generated code."""

    code = "sandbox_unavailable"


class LeaseLost(TinyGPTError):
    """Another worker owns the run now. Stop at once and write nothing more."""

    code = "lease_lost"


def _by_code(root: type[TinyGPTError]) -> dict[str, type[TinyGPTError]]:
    kinds = {root.code: root}
    for kind in root.__subclasses__():
        kinds |= _by_code(kind)
    return kinds
