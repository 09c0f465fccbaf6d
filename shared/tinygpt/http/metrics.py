"""Prometheus metrics of HTTP requests, and the endpoint that serves all metrics of a service."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
"""A client can send any word as a method. All others share one label, so that labels can't fill the memory."""


class HttpMetrics:
    """Requests and their durations, by method, route and status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(
            "tinygpt_http_requests_total", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "tinygpt_http_request_seconds", "Seconds from request to end of answer.", ["route"], registry=registry
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def router(self) -> APIRouter:
        """`GET /metrics` in the Prometheus text format."""
        router = APIRouter(tags=["operation"])

        @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
        def metrics() -> Response:
            return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

        return router
