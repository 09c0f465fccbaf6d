"""Logs as in production, as for the services."""

from tests.services.conftest import plain_logging

__all__ = ["plain_logging"]
