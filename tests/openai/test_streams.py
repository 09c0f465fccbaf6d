"""A stream of several prompts with several choices each, as OpenAI's chunks."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from tinygpt.contracts.generation import GenerateDelta, GenerateResponse, Timings, Usage
from tinygpt.contracts.models import LoadedModel
from tinygpt.data.tokenizer import CharacterTokenizer
from tinygpt.openai.formats import AnswerFormat, ChatFormat, CompletionFormat
from tinygpt.openai.streams import chunk_events

MODEL = LoadedModel.model_construct(model_id="r-1", sha256="0" * 64)  # type: ignore[call-arg]
TOKENIZER = CharacterTokenizer.from_corpus(["ab"])


def answer(text: str) -> GenerateResponse:
    return GenerateResponse(
        code=text,
        raw=text,
        source="model",
        finish_reason="eos",
        repaired=False,
        model="r-1",
        usage=Usage(prompt_tokens=2, completion_tokens=3),
        timings=Timings(queue=0, prefill=0, decode=0),
    )


async def two_prompts() -> AsyncIterator[tuple[int, GenerateDelta | GenerateResponse]]:
    """Two choices each; the second prompt's first choice writes nothing."""
    yield 0, GenerateDelta(index=1, text="a")
    yield 1, GenerateDelta(index=0, text="", finish_reason="eos")
    yield 0, GenerateDelta(index=0, text="b", finish_reason="length")
    yield 0, GenerateDelta(index=1, text="", finish_reason="stop")
    yield 0, answer("b")
    yield 1, GenerateDelta(index=1, text="a", finish_reason="cancelled")
    yield 1, answer("")


def chunks(format: AnswerFormat, *, include_usage: bool) -> list[dict[str, Any]]:
    async def read() -> list[bytes]:
        return [event async for event in chunk_events(two_prompts(), format, n=2, include_usage=include_usage)]

    *events, done = asyncio.run(read())
    assert done == b"data: [DONE]\n\n"
    return [json.loads(event.removeprefix(b"data: ")) for event in events]


def test_a_choices_index_counts_over_all_prompts() -> None:
    found = chunks(CompletionFormat(MODEL, TOKENIZER), include_usage=False)
    choices = [
        (choice["index"], choice["text"], choice["finish_reason"]) for chunk in found for choice in chunk["choices"]
    ]
    assert choices == [
        (1, "a", None),
        (2, "", "stop"),
        (0, "b", None),
        (0, "", "length"),
        (1, "", "stop"),
        (3, "a", None),
        (3, "", "length"),
    ]
    assert len({chunk["id"] for chunk in found}) == 1


def test_a_chats_choice_begins_with_its_role_even_if_it_is_empty() -> None:
    found = chunks(ChatFormat(MODEL, TOKENIZER), include_usage=False)
    first: dict[int, dict[str, Any]] = {}
    for chunk in found:
        for choice in chunk["choices"]:
            first.setdefault(choice["index"], choice["delta"])
    assert first == {index: {"role": "assistant", "content": ""} for index in range(4)}


def test_the_usage_of_all_prompts_comes_last_if_it_is_requested() -> None:
    *_, last = chunks(CompletionFormat(MODEL, TOKENIZER), include_usage=True)
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10}
