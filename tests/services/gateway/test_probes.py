"""`/livez`, `/readyz`, `/health` and `/metrics`."""

import httpx
import pytest

from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from tests.services.conftest import serving
from tests.services.gateway.conftest import StartGateway, Upstream, error_of, model_server, refusing, unreachable
from tinygpt.contracts.errors import NoModel


def test_a_gateway_that_serves_is_live_ready_and_healthy(gateway: httpx.Client) -> None:
    assert gateway.get("/livez").json()["status"] == "ok"
    assert gateway.get("/readyz").json() == {"status": "ok"}
    health = gateway.get("/health").json()
    assert (health["status"], health["redis"], health["queued_runs"]) == ("ok", "ok", 0)
    assert next(iter(health["model_servers"].values()))["status"] == "ok"


@pytest.mark.parametrize(
    ("upstream", "code"),
    [(unreachable, "model_server_unavailable"), (refusing(NoModel("no model yet")), "no_model")],
    ids=["unreachable", "no_model"],
)
def test_a_gateway_that_cannot_generate_is_live_but_not_ready(
    start_gateway: StartGateway, upstream: Upstream, code: str
) -> None:
    gateway = start_gateway(upstream)
    assert gateway.get("/livez").status_code == 200
    error_of(gateway.get("/readyz"), 503, code)
    health = gateway.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "unavailable")
    assert health.json()["reason"]


def test_a_stopping_gateway_is_not_ready(gateway_settings: GatewaySettings) -> None:
    app = create_app(gateway_settings, transport=httpx.MockTransport(model_server))
    with serving(app) as url, httpx.Client(base_url=url, trust_env=False) as gateway:
        app.state.gateway.draining.set()
        error_of(gateway.get("/readyz"), 503, "draining")
        assert gateway.get("/health").status_code == 503


def test_requests_are_counted_by_route_and_status(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    gateway.get("/train/r-unknown")
    gateway.get("/nowhere")
    metrics = gateway.get("/metrics").text
    assert 'tinygpt_http_requests_total{method="GET",route="/train/{run_id}",status="404"} 1.0' in metrics
    assert 'route="unmatched",status="404"} 1.0' in metrics
