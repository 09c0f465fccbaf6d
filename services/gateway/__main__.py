"""`python -m services.gateway`: serve until told to stop."""

import sys

from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from tinygpt.http.request_id import add_request_id
from tinygpt.http.server import serve
from tinygpt.runtime.logging import configure_logging
from tinygpt.runtime.settings import load_settings


def main() -> None:
    settings = load_settings(GatewaySettings)
    configure_logging("gateway", format=settings.log_format, level=settings.log_level, extra=[add_request_id])
    try:
        app = create_app(settings)
    except ValueError as error:
        print(f"The gateway can't start: {error}. See .env.example.", file=sys.stderr)
        raise SystemExit(2) from None
    serve(
        app,
        host=settings.gateway_host,
        port=settings.gateway_port,
        port_setting="TINYGPT_GATEWAY_PORT",
        drain_seconds=settings.gateway_drain_seconds,
        on_stop=app.state.gateway.draining.set,
    )


if __name__ == "__main__":
    main()
