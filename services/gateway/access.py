"""API keys with scopes, and a rate limit per key. Without keys, the gateway is open to all."""

import secrets
import time
from typing import Literal, get_args

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from tinygpt.contracts.errors import Forbidden, TooManyRequests, Unauthenticated

Scope = Literal["generate", "train"]
_SCOPES = set(get_args(Scope))


class Access:
    """Checks a request's key, its scope and its rate.

    `keys` is `key:scope,scope;key:scope`, `rate_limit` is like `60/minute`. Raises `ValueError` if they are not.
    """

    def __init__(self, keys: str, rate_limit: str) -> None:
        self._scopes = dict(_parsed_key(entry) for entry in keys.split(";") if entry.strip())
        self._limit = _parsed_rate(rate_limit) if rate_limit else None
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def require(self, scope: Scope, *, authorization: str | None, client: str) -> None:
        """Raises `Unauthenticated`, `Forbidden` or `TooManyRequests`. Rates are by key, else by address."""
        identity = client
        if self._scopes:
            identity = self._known_key(authorization)
            if scope not in self._scopes[identity]:
                raise Forbidden(f"This API key lacks the scope {scope!r}: ask whoever runs this server.")
        if self._limit is not None and not self._limiter.hit(self._limit, identity):
            reset_at, _ = self._limiter.get_window_stats(self._limit, identity)
            raise TooManyRequests(
                f"More than {self._limit}: wait before asking again.", retry_after=_seconds_until(reset_at)
            )

    def _known_key(self, authorization: str | None) -> str:
        scheme, _, sent = (authorization or "").partition(" ")
        if scheme.lower() == "bearer":
            for key in self._scopes:
                if secrets.compare_digest(key.encode(), sent.strip().encode()):
                    return key
        raise Unauthenticated("Send a valid API key: `Authorization: Bearer <key>`.", param="Authorization")


def _parsed_key(entry: str) -> tuple[str, set[str]]:
    key, _, scopes = entry.strip().partition(":")
    granted = {scope.strip() for scope in scopes.split(",")}
    if not key or not granted <= _SCOPES:
        raise ValueError("TINYGPT_API_KEYS must read key:scope,scope;key:scope with the scopes generate and train")
    return key, granted


def _parsed_rate(rate_limit: str) -> RateLimitItem:
    try:
        return parse(rate_limit)
    except ValueError:
        raise ValueError(f"TINYGPT_RATE_LIMIT must read like 60/minute, not {rate_limit!r}") from None


def _seconds_until(reset_at: float) -> float:
    return max(1.0, reset_at - time.time())
