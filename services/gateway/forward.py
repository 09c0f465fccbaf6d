"""A request's way to a model server: admission, a deadline, and the answer passed on as it is."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from urllib.parse import quote

from fastapi import Request, Response

from services.gateway.context import Gateway
from services.gateway.upstreams import UpstreamRequest
from tinygpt.http.deadline import while_connected
from tinygpt.http.request_id import current_request_id
from tinygpt.http.sse import EventStream


async def forward(gateway: Gateway, request: Request, *, stream: bool = False) -> Response:
    """A model server's answer to the same request. A POST holds a place until its answer, or its stream, has ended.

    `TINYGPT_REQUEST_TIMEOUT` bounds all of it: waiting for a place, retries, and the stream.
    """
    body = await request.body() if request.method == "POST" else None
    upstream_request = UpstreamRequest(quote(request.url.path), body, stream, current_request_id())
    seconds = gateway.settings.request_timeout
    deadline = asyncio.get_running_loop().time() + seconds
    if stream:
        return EventStream(_events(gateway, upstream_request, deadline), seconds=seconds)
    place = gateway.admission.place(deadline) if body is not None else contextlib.nullcontext()
    async with while_connected(request.receive, seconds), place:
        answer = await gateway.model_servers.send(upstream_request, deadline=deadline)
    return Response(answer, media_type="application/json")


async def _events(gateway: Gateway, request: UpstreamRequest, deadline: float) -> AsyncGenerator[bytes, None]:
    async with (
        gateway.admission.place(deadline),
        contextlib.aclosing(gateway.model_servers.stream(request, deadline=deadline)) as events,
    ):
        async for event in events:
            yield event
