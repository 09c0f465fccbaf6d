"""Generators whose model is known: scripted to give one text, or untrained with fixed weights."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from tests.scripted_model import scripted_model
from tinygpt.contracts.generation import GenerateDelta, GenerateRequest, GenerateResponse
from tinygpt.data.rows import Row
from tinygpt.data.tokenizer import EOS, CharacterTokenizer, Tokenizer
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.retrieval import RetrievalIndex
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT

PROMPT = "reverse the list nums"
ROWS = [Row("reverse the list items", "items[::-1]"), Row("sum of nums", "sum(nums)")]


def scripted_generator(answer: str, *, prompt: str = PROMPT, ends: bool = True, slots: int = 8) -> CodeGenerator:
    """Its model continues `prompt` with `answer`."""
    model, tokenizer = scripted_model(answer, prompt=prompt, ends=ends)
    return CodeGenerator(model, tokenizer, RetrievalIndex(ROWS), model_id="r-1", slots=slots)


def token_generator(ids: Sequence[int], tokenizer: Tokenizer) -> CodeGenerator:
    """Its model continues the prompt "x" with `ids`, which need not be characters."""
    characters = "".join(map(chr, range(0x4E00, 0x4E00 + len(ids))))
    scripted, character_tokenizer = scripted_model(characters, prompt="x")
    head = scripted.head.weight.detach()
    model = TinyGPT(replace(scripted.config, vocab_size=tokenizer.vocab_size)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "token_embedding" not in name and "head" not in name:
                parameter.copy_(scripted.get_parameter(name))
        model.token_embedding.weight.zero_()
        model.head.weight.zero_()
        model.head.weight[EOS] = head[EOS]
        for token, character in zip(ids, characters, strict=True):
            model.head.weight[token] += head[character_tokenizer.encode(character)[0]]
    return CodeGenerator(model, tokenizer, model_id="m")


def untrained_generator(**options: Any) -> CodeGenerator:
    torch.manual_seed(0)
    tokenizer = CharacterTokenizer.from_corpus([])
    model = TinyGPT(ModelConfig(vocab_size=tokenizer.vocab_size, context_length=64, layers=1, heads=1, width=16)).eval()
    return CodeGenerator(model, tokenizer, model_id="m", **options)


async def stream_of(generator: CodeGenerator, request: GenerateRequest) -> tuple[list[GenerateDelta], GenerateResponse]:
    """All deltas of a stream, and its answer."""
    *deltas, answer = [item async for item in generator.stream(request)]
    assert isinstance(answer, GenerateResponse)
    return [delta for delta in deltas if isinstance(delta, GenerateDelta)], answer


async def streams_of(
    generator: CodeGenerator, requests: Sequence[GenerateRequest]
) -> list[tuple[list[GenerateDelta], GenerateResponse]]:
    """`stream_of` each request, from one stream for all."""
    deltas: list[list[GenerateDelta]] = [[] for _ in requests]
    answers: dict[int, GenerateResponse] = {}
    async for number, item in generator.stream_all(requests):
        assert number not in answers, "the answer is the last item of its request"
        if isinstance(item, GenerateDelta):
            deltas[number].append(item)
        else:
            answers[number] = item
    return [(deltas[number], answers[number]) for number in range(len(requests))]


def without_times(answer: GenerateResponse) -> dict[str, Any]:
    return answer.model_dump(exclude={"timings"})
