"""What a request asks of sampling, by whichever way it came, is what the sampler is told."""

from dataclasses import fields
from typing import Any

import pytest

from tinygpt.contracts.explain import ExplainRequest
from tinygpt.contracts.generation import GenerateRequest, SampledRequest
from tinygpt.inference.sampling import SAMPLING, SamplingParameters
from tinygpt.inference.sequence import sampling_parameters
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
