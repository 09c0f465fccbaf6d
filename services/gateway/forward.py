"""A request admitted, given a deadline and forwarded to a model server; its answer passed on as it is."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from urllib.parse import quote

from fastapi import Request, Response

from services.gateway.context import Gateway
from services.gateway.upstreams import Question
from tinygpt.http.deadline import while_connected
from tinygpt.http.request_id import current_request_id
from tinygpt.http.sse import EventStream


async def forward(gateway: Gateway, request: Request, *, stream: bool = False) -> Response:
    """The model servers' answer to the same request. What is generated holds a place until it, or its
    stream, has ended.

    `TINYGPT_REQUEST_TIMEOUT` bounds it all: waiting for a place, asking, asking again, streaming.
    """
    body = await request.body() if request.method == "POST" else None
    question = Question(quote(request.url.path), body, stream)
    seconds = gateway.settings.request_timeout
    deadline = asyncio.get_running_loop().time() + seconds
    if stream:
        return EventStream(_events(gateway, question, deadline), seconds=seconds)
    place = gateway.admission.place(deadline) if body is not None else contextlib.nullcontext()
    async with while_connected(request.receive, seconds), place:
        answer = await gateway.model_servers.ask(question, deadline=deadline, request_id=current_request_id())
    return Response(answer, media_type="application/json")


async def _events(gateway: Gateway, question: Question, deadline: float) -> AsyncGenerator[bytes, None]:
    async with (
        gateway.admission.place(deadline),
        contextlib.aclosing(
            gateway.model_servers.stream(question, deadline=deadline, request_id=current_request_id())
        ) as events,
    ):
        async for event in events:
            yield event
