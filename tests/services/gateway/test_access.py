"""Keys, scopes and rates."""

import pytest

from services.gateway.access import Access
from tinygpt.contracts.errors import Forbidden, TooManyRequests, Unauthenticated

KEYS = "all-k3y:generate,train; ask-k3y:generate"


def test_without_keys_the_door_is_open() -> None:
    Access("", "").require("train", authorization=None, client="1.2.3.4")


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic all-k3y", "all-k3y", "Bearer all-k3y2", "Bearer é"],
)
def test_with_keys_nobody_comes_in_without_one(authorization: str | None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        Access(KEYS, "").require("generate", authorization=authorization, client="1.2.3.4")
    assert caught.value.param == "Authorization"


@pytest.mark.parametrize("authorization", ["Bearer all-k3y", "bearer all-k3y", "Bearer  all-k3y "])
def test_a_key_opens_what_its_scopes_name(authorization: str) -> None:
    access = Access(KEYS, "")
    access.require("generate", authorization=authorization, client="1.2.3.4")
    access.require("train", authorization=authorization, client="1.2.3.4")


def test_a_key_without_the_scope_is_forbidden() -> None:
    access = Access(KEYS, "")
    access.require("generate", authorization="Bearer ask-k3y", client="1.2.3.4")
    with pytest.raises(Forbidden, match="train"):
        access.require("train", authorization="Bearer ask-k3y", client="1.2.3.4")


def test_a_rate_is_counted_by_key_wherever_it_comes_from() -> None:
    access = Access(KEYS, "2/minute")
    for client in ("1.1.1.1", "2.2.2.2"):
        access.require("generate", authorization="Bearer ask-k3y", client=client)
    with pytest.raises(TooManyRequests) as caught:
        access.require("generate", authorization="Bearer ask-k3y", client="3.3.3.3")
    assert 0 < (caught.value.retry_after or 0) <= 61
    access.require("generate", authorization="Bearer all-k3y", client="3.3.3.3")


def test_without_keys_a_rate_is_counted_by_address() -> None:
    access = Access("", "1/minute")
    access.require("generate", authorization=None, client="1.1.1.1")
    access.require("generate", authorization=None, client="2.2.2.2")
    with pytest.raises(TooManyRequests):
        access.require("generate", authorization=None, client="1.1.1.1")


@pytest.mark.parametrize("keys", ["s3cret", "s3cret:", "s3cret:fly", ":train", "s3cret:train,fly", "a:train;s3cret"])
def test_keys_that_cannot_be_read_are_refused_by_the_settings_name_and_not_shown(keys: str) -> None:
    with pytest.raises(ValueError, match="TINYGPT_API_KEYS") as caught:
        Access(keys, "")
    assert "s3cret" not in str(caught.value)


def test_a_rate_that_cannot_be_read_is_refused_by_the_settings_name() -> None:
    with pytest.raises(ValueError, match="TINYGPT_RATE_LIMIT"):
        Access("", "many")
