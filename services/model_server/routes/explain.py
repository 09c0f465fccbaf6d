"""`POST /explain`: how an answer comes about. One at a time: it is the slow, readable path."""

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from services.model_server.context import Seconds, ServerDep
from tinygpt.contracts.explain import ExplainRequest, Explanation
from tinygpt.inference.explain import explain as explain_answer
from tinygpt.runtime.web import json_response, while_connected

router = APIRouter(tags=["generate"])


@router.post("/explain", summary="Every step of an answer: candidates, entropy, attention", response_model=Explanation)
async def explain(body: ExplainRequest, request: Request, server: ServerDep, seconds: Seconds) -> Response:
    async with while_connected(request.receive, seconds), server.explaining:
        with server.models.in_use() as held:
            generator = held.generator
            explanation = await run_in_threadpool(
                explain_answer, generator.model, generator.tokenizer, body, model_id=generator.model_id
            )
    return json_response(explanation)
