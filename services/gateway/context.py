"""What every endpoint works with. `create_app` makes it once, and FastAPI hands it in as a dependency."""

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Header, Request, params

from services.gateway.access import Access, Scope
from services.gateway.settings import GatewaySettings
from services.gateway.upstreams import ModelServers
from tinygpt.http.admission import Admission
from tinygpt.http.heartbeat import Heartbeat
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.volume import Volume


@dataclass
class Gateway:
    """The gateway's parts."""

    settings: GatewaySettings
    volume: Volume
    runs: RunStore
    access: Access
    admission: Admission
    model_servers: ModelServers
    event_streams: asyncio.Semaphore
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    draining: threading.Event = field(default_factory=threading.Event)
    started_at: float = field(default_factory=time.monotonic)


async def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayDep = Annotated[Gateway, Depends(_gateway)]


def requires(scope: Scope) -> params.Depends:
    """A dependency that refuses a request whose key does not have `scope`."""

    async def check(
        request: Request,
        gateway: GatewayDep,
        authorization: Annotated[str | None, Header(description="`Bearer <key>`, if the gateway has keys.")] = None,
    ) -> None:
        client = request.client.host if request.client else "unknown"
        gateway.access.require(scope, authorization=authorization, client=client)

    return params.Depends(check)
