"""The tree of errors: as drawn, and carried from service to service."""

import re
from collections.abc import Iterator

import pytest

from tinygpt.contracts import errors
from tinygpt.contracts.errors import ErrorDetail, InvalidRequest, QueueFull, TinyGPTError


def every_kind(root: type[TinyGPTError] = TinyGPTError) -> Iterator[type[TinyGPTError]]:
    yield root
    for kind in root.__subclasses__():
        yield from every_kind(kind)


def drawn_tree() -> dict[str, tuple[str | None, int, str]]:
    """Name to (parent, status, code), read off the drawing at the top of the module."""
    tree: dict[str, tuple[str | None, int, str]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"^([│├└─ ]*)(\w+) +(\d{3}) (\w+)$", line):
            branches, name, status, code = found.groups()
            depth = len(branches) // 4
            path[depth:] = [name]
            tree[name] = (path[depth - 1] if depth else None, int(status), code)
    return tree


def test_the_tree_is_the_one_drawn_at_the_top_of_the_module() -> None:
    built: dict[str, tuple[str | None, int, str]] = {
        kind.__name__: (kind.__bases__[0].__name__ if kind is not TinyGPTError else None, kind.status, kind.code)
        for kind in every_kind()
    }

    assert drawn_tree() == built


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in every_kind()]

    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", list(every_kind()), ids=lambda kind: kind.__name__)
def test_an_error_crosses_the_wire_as_itself(kind: type[TinyGPTError]) -> None:
    sent = kind("do this", param="rows")

    received = TinyGPTError.from_detail(
        ErrorDetail.model_validate_json(sent.detail("req-1").model_dump_json()), retry_after=2.5
    )

    assert type(received) is kind
    assert (received.message, received.param, received.retry_after) == ("do this", "rows", 2.5)


def test_a_code_of_another_version_becomes_the_root() -> None:
    detail = ErrorDetail(message="new here", type="server_error", code="not_known_yet")

    assert type(TinyGPTError.from_detail(detail)) is TinyGPTError


def test_the_detail_says_what_happened_and_to_which_request() -> None:
    detail = InvalidRequest("temperature is -1", param="temperature").detail("req-1")

    assert detail.model_dump() == {
        "message": "temperature is -1",
        "type": "invalid_request_error",
        "code": "invalid_request",
        "param": "temperature",
        "request_id": "req-1",
    }


def test_an_error_reads_as_its_message() -> None:
    assert str(QueueFull("try again later", retry_after=1)) == "try again later"


def test_errors_do_not_share_what_they_add_to_the_body() -> None:
    first, second = TinyGPTError("a"), TinyGPTError("b")
    first.extra["report"] = 1

    assert second.extra == {}
