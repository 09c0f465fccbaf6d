"""A request's prompt and options are what the decoder gets, whichever endpoint they came by."""

from dataclasses import fields
from typing import Any

import pytest

from tinygpt.contracts.errors import ContextLengthExceeded
from tinygpt.contracts.explain import ExplainRequest
from tinygpt.contracts.generation import GenerateRequest, SampledRequest
from tinygpt.data.tokenizer import CODE, PROMPT, CharacterTokenizer
from tinygpt.inference.request import encode_prompt, sampling_parameters, sequence_requests
from tinygpt.inference.sampling import SAMPLING, SamplingParameters
from tinygpt.inference.sequence import SequenceRequest
from tinygpt.openai.requests import ChatCompletionRequest, CompletionRequest

ASKED: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.75,
    "top_k": 7,
    "min_p": 0.25,
    "repetition_penalty": 1.5,
    "repetition_window": 9,
    "seed": 5,
    "balanced": True,
}
"""Every option, and none at its default."""


def generate(**options: Any) -> SampledRequest:
    return GenerateRequest(prompt="p", **options)


def explain(**options: Any) -> SampledRequest:
    return ExplainRequest(prompt="p", **options)


def completion(**options: Any) -> SampledRequest:
    (request,) = CompletionRequest(prompt="p", **options).as_generate_requests()
    return request


def chat(**options: Any) -> SampledRequest:
    messages = [{"role": "user", "content": "p"}]
    (request,) = ChatCompletionRequest.model_validate({"messages": messages} | options).as_generate_requests()
    return request


def test_contract_sampler_and_kernels_have_the_same_options() -> None:
    names = {field.name for field in fields(SamplingParameters)}

    assert ASKED.keys() == names == SampledRequest.model_fields.keys() - {"prompt"} == set(SAMPLING.names or ())
    assert all(getattr(SamplingParameters(), name) != value for name, value in ASKED.items())


@pytest.mark.parametrize("way", [generate, explain, completion, chat])
def test_every_option_reaches_the_sampler_and_has_one_default(way: Any) -> None:
    assert sampling_parameters(way()) == SamplingParameters()
    assert sampling_parameters(way(**ASKED)) == SamplingParameters(**ASKED)
    for name, value in ASKED.items():
        assert sampling_parameters(way(**{name: value})) == SamplingParameters(**{name: value})
    record = sampling_parameters(way(**ASKED)).record()
    assert {name: record[name] for name in ASKED} == pytest.approx(ASKED)


def test_each_choice_has_the_next_seed_and_the_largest_has_one_too() -> None:
    assert [sampling_parameters(generate(seed=5), choice=choice).seed for choice in range(3)] == [5, 6, 7]
    assert sampling_parameters(generate(seed=2**63 - 1), choice=1).seed == 0
    assert sampling_parameters(generate(), choice=1).seed is None


def test_a_prompt_must_leave_room_for_a_token() -> None:
    tokenizer = CharacterTokenizer.from_corpus([])

    assert len(encode_prompt("x" * 29, tokenizer, 32)) == 31
    with pytest.raises(ContextLengthExceeded, match=r"30 characters, 30 tokens.* at most 29 tokens") as caught:
        encode_prompt("x" * 30, tokenizer, 32)
    assert caught.value.param == "prompt"


def test_every_choice_is_a_sequence_with_all_that_was_asked() -> None:
    tokenizer = CharacterTokenizer.from_corpus([])
    request = GenerateRequest(prompt="xy", n=2, seed=3, stop=["a", "b"], logprobs=4, max_new_tokens=5, temperature=0.5)

    first, second = sequence_requests(request, tokenizer, 32, stream=True)

    ids = [PROMPT, *tokenizer.encode("xy"), CODE]
    sampling = SamplingParameters(temperature=0.5, seed=3)
    assert first == SequenceRequest(ids, sampling, 5, stop=["a", "b"], logprobs=4, stream=True)
    assert second == SequenceRequest(ids, sampling_parameters(request, choice=1), 5, ["a", "b"], 4, True)
    assert not sequence_requests(request, tokenizer, 32)[0].stream
