"""`POST /explain`: how an answer comes about. One at a time, because it is the slow, readable path."""

import asyncio
import threading

from fastapi import APIRouter, Request, Response

from services.model_server.context import Seconds, ServerDep
from services.model_server.model_loading import ServedModel
from tinygpt.contracts.explain import ExplainRequest, Explanation
from tinygpt.http.deadline import while_connected
from tinygpt.http.endpoints import EXPLAIN
from tinygpt.http.responses import json_response
from tinygpt.inference.explain import explain as explain_answer

router = APIRouter(tags=["generate"])


@router.post(**EXPLAIN)
async def explain(body: ExplainRequest, request: Request, server: ServerDep, seconds: Seconds) -> Response:
    deadline = asyncio.get_running_loop().time() + seconds
    async with while_connected(request.receive, seconds), server.explanations.place(deadline):
        with server.models.in_use() as model:
            return json_response(await _explain_in_thread(model, body))


async def _explain_in_thread(model: ServedModel, body: ExplainRequest) -> Explanation:
    """If it is cancelled, it waits until the thread has stopped, within a token, so that the place stays taken."""
    generator, stopped = model.generator, threading.Event()
    explaining = asyncio.create_task(
        asyncio.to_thread(
            explain_answer,
            generator.model,
            generator.tokenizer,
            body,
            model_id=generator.model_id,
            should_stop=stopped.is_set,
        )
    )
    try:
        return await asyncio.shield(explaining)
    finally:
        stopped.set()
        await asyncio.wait([explaining])
