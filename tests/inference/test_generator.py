"""From a request to an answer, for a caller that waits."""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.inference.generators import PROMPT, ROWS, scripted_generator, untrained_generator
from tests.scripted_model import scripted_model
from tinygpt.contracts.errors import ContextLengthExceeded
from tinygpt.contracts.generation import GenerateRequest, GenerateResponse
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.retrieval import RetrievalIndex


def answer_to(text: str, prompt: str = PROMPT, ends: bool = True, **request: Any) -> GenerateResponse:
    """The answer of a generator whose model continues `prompt` with `text`."""
    return scripted_generator(text, prompt=prompt, ends=ends).generate(GenerateRequest(prompt=prompt, **request))


def test_the_models_text_is_the_answer() -> None:
    answer = answer_to("nums[::-1]")

    assert (answer.code, answer.source, answer.finish_reason) == ("nums[::-1]", "model", "eos")
    assert (answer.repaired, answer.similarity, answer.matched_prompt, answer.note) == (False, None, None, None)
    assert answer.model == "r-1"
    assert answer.raw == "nums[::-1]"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(PROMPT) + 2, len("nums[::-1]"))
    assert answer.timings.queue >= 0
    assert answer.timings.prefill > 0
    assert answer.timings.decode > 0
    assert answer.timings.first_token is not None


def test_a_text_cut_by_max_new_tokens_is_repaired() -> None:
    answer = answer_to("nums[::-1]", max_new_tokens=9)

    assert answer.raw == "nums[::-1"
    assert (answer.code, answer.source, answer.repaired) == ("nums[::-1]", "model", True)
    assert answer.finish_reason == "length"


def test_a_text_that_repeats_itself_is_replaced_by_the_nearest_training_rows_code() -> None:
    answer = answer_to("0, ", ends=False)

    assert (answer.code, answer.source, answer.finish_reason) == ("items[::-1]", "retrieval", "length")
    assert answer.raw.startswith("0, 0, ")
    assert answer.note is not None
    assert "repeats itself" in answer.note


def test_the_similarity_floor_decides_what_is_near_enough() -> None:
    model, tokenizer = scripted_model("", prompt=PROMPT)
    request = GenerateRequest(prompt=PROMPT)
    sources = [
        CodeGenerator(model, tokenizer, RetrievalIndex(ROWS), model_id="m", similarity_floor=floor)
        .generate(request)
        .source
        for floor in (0.0, 70.0, 100.0)
    ]

    assert sources == ["retrieval", "retrieval", "none"]


@pytest.mark.parametrize("index", [None, RetrievalIndex([])], ids=["none", "empty"])
def test_without_training_rows_an_unusable_text_is_no_answer(index: RetrievalIndex | None) -> None:
    model, tokenizer = scripted_model("", prompt=PROMPT)
    generator = CodeGenerator(model, tokenizer, index, model_id="m")

    assert generator.generate(GenerateRequest(prompt=PROMPT)).source == "none"


def test_a_prompt_that_is_too_long_is_refused_with_the_most_that_fits() -> None:
    with pytest.raises(ContextLengthExceeded) as caught:
        scripted_generator("nums").generate(GenerateRequest(prompt="x" * 10_000))

    assert "10000 characters" in caught.value.message
    assert "at most 125" in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.param == "prompt"


def test_the_longest_prompt_that_the_refusal_names_is_taken_and_one_more_is_not() -> None:
    generator = scripted_generator("nums")
    answer = generator.generate(GenerateRequest(prompt="x" * 125))

    assert answer.usage.prompt_tokens == 127
    with pytest.raises(ContextLengthExceeded, match="126 characters"):
        generator.generate(GenerateRequest(prompt="x" * 126))


def test_emoji_are_unknown_characters_and_the_prompt_is_still_answered() -> None:
    model, tokenizer = scripted_model("nums[::-1]", prompt="x" * 5)
    answer = CodeGenerator(model, tokenizer, model_id="m").generate(GenerateRequest(prompt="🎉 🎉🎉🎉"))

    assert (answer.code, answer.source, answer.usage.prompt_tokens) == ("nums[::-1]", "model", 7)


def test_a_control_token_typed_in_the_prompt_is_text() -> None:
    prompt = "<EOS> <CODE>"
    answer = answer_to("nums[::-1]", prompt=prompt)

    assert answer.usage.prompt_tokens == len(prompt) + 2
    assert (answer.code, answer.finish_reason) == ("nums[::-1]", "eos")


def test_every_parameter_of_the_request_reaches_the_decoder() -> None:
    text = _texts_of(untrained_generator())

    assert text(temperature=1.0, seed=1) == text(temperature=1.0, seed=1)
    assert text(temperature=1.0, seed=1) != text(temperature=1.0, seed=2)
    assert text(temperature=1.0, seed=1) != text()
    assert text(temperature=1.0, seed=1, top_p=1e-9) == text()
    assert text(temperature=1.0, seed=1, top_k=1) == text()
    assert text(temperature=1.0, seed=1, min_p=1.0) == text()
    assert text(temperature=1.0, seed=4, balanced=True) != text(temperature=1.0, seed=4)
    assert text(repetition_penalty=2.0) != text()
    assert text(repetition_penalty=2.0, repetition_window=1) != text(repetition_penalty=2.0)
    assert len(text(max_new_tokens=3)) <= 3


def _texts_of(generator: CodeGenerator) -> Callable[..., str]:
    def text(**options: Any) -> str:
        request = {"prompt": "x", "post_process": False, "fallback": "never", "max_new_tokens": 30, **options}
        return generator.generate(GenerateRequest.model_validate(request)).code

    return text


def test_several_threads_get_the_answers_that_one_would() -> None:
    text = _texts_of(untrained_generator())

    def seeded(seed: int) -> str:
        return text(prompt="x" * (1 + seed), temperature=1.0, seed=seed, max_new_tokens=20)

    alone = [seeded(seed) for seed in range(16)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(seeded, range(16)))

    assert together == alone


@pytest.mark.parametrize("text", ["0x1for x in xs", "'\\d'", "1if x else 2"])
def test_odd_but_valid_syntax_in_an_answer_is_no_warning(text: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answer_to(text)

    assert caught == []


def test_choice_i_is_the_answer_to_seed_plus_i_and_usage_counts_all() -> None:
    generator = untrained_generator()
    request = GenerateRequest(prompt="x", temperature=1.0, seed=5, max_new_tokens=20, post_process=False)

    answer = generator.generate(request.model_copy(update={"n": 3}))

    alone = [generator.generate(request.model_copy(update={"seed": 5 + i})) for i in range(3)]
    assert answer.choices is not None
    assert [choice.raw for choice in answer.choices] == [one.raw for one in alone]
    assert answer.raw == answer.choices[0].raw
    assert alone[0].choices is None
    assert answer.usage.completion_tokens == sum(one.usage.completion_tokens for one in alone)
    assert answer.usage.prompt_tokens == alone[0].usage.prompt_tokens


def test_without_a_seed_every_choice_differs() -> None:
    request = GenerateRequest(prompt="x", temperature=1.0, n=4, max_new_tokens=20, post_process=False, fallback="never")

    choices = untrained_generator().generate(request).choices

    assert choices is not None
    assert len({choice.raw for choice in choices}) == 4


def test_the_largest_seed_has_a_next_one() -> None:
    request = GenerateRequest(prompt="x", temperature=1.0, seed=2**63 - 1, n=2, max_new_tokens=5)

    assert len(untrained_generator().generate(request).choices or []) == 2


def test_the_answer_ends_before_a_stop_string() -> None:
    answer = answer_to("nums[::-1]", stop=["::", "-"], post_process=False)

    assert (answer.code, answer.raw, answer.finish_reason) == ("nums[", "nums[", "stop")
    assert answer.usage.completion_tokens == len("nums[::")


def test_log_probabilities_cover_the_tokens_of_raw_with_the_most_likely_at_each() -> None:
    answer = answer_to("nums[::-1]", stop=["::"], logprobs=2, post_process=False)

    assert answer.logprobs is not None
    assert [token.token for token in answer.logprobs] == list("nums[")
    for token in answer.logprobs:
        first, second = token.top
        assert (first.token, first.id, first.logprob) == (token.token, token.id, token.logprob)
        assert second.logprob < first.logprob <= 0
    assert answer_to("nums", logprobs=0).logprobs is not None
    assert answer_to("nums").logprobs is None
