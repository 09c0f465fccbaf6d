"""A stream of ours as OpenAI's: chunks as server-sent events, ended by `[DONE]`."""

from collections.abc import AsyncGenerator, AsyncIterable

from pydantic import BaseModel

from tinygpt.contracts.generation import GenerateDelta, GenerateResponse, Usage
from tinygpt.http.sse import sse_event
from tinygpt.openai.formats import AnswerFormat, total_usage

_DONE = sse_event("[DONE]")


async def chunk_events(
    stream: AsyncIterable[tuple[int, GenerateDelta | GenerateResponse]],
    format: AnswerFormat,
    *,
    n: int,
    include_usage: bool,
) -> AsyncGenerator[bytes, None]:
    """The chunks of every choice of every prompt. Choice i of prompt p has the index `p * n + i`.

    `stream` has the deltas and answers of all prompts, each with the number of its prompt.
    """
    begun: set[int] = set()
    usages: list[Usage] = []
    async for prompt, item in stream:
        if isinstance(item, GenerateResponse):
            usages.append(item.usage)
            continue
        index = prompt * n + item.index
        if index not in begun and (opening := format.first(index)):
            yield _event(opening)
        begun.add(index)
        if item.text or item.logprobs:
            yield _event(format.delta(index, item))
        if item.finish_reason is not None:
            yield _event(format.last(index, item.finish_reason))
    if include_usage:
        yield _event(format.usage(total_usage(usages)))
    yield _DONE


def _event(chunk: BaseModel) -> bytes:
    return sse_event(chunk.model_dump_json())
