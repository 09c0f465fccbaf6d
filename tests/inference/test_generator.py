"""From a request to an answer: the model's, a training row's, or none."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from tests.scripted_model import scripted_model
from tinygpt.contracts.errors import InvalidRequest
from tinygpt.contracts.generation import GenerateRequest, GenerateResponse
from tinygpt.data.rows import Row
from tinygpt.data.tokenizer import CharacterTokenizer
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.retrieval import RetrievalIndex
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT

PROMPT = "reverse the list nums"
ROWS = [Row("reverse the list items", "items[::-1]"), Row("sum of nums", "sum(nums)")]


def generator(answer: str, *, prompt: str = PROMPT, rows: list[Row] = ROWS, ends: bool = True) -> CodeGenerator:
    model, tokenizer = scripted_model(answer, prompt=prompt, ends=ends)
    return CodeGenerator(model, tokenizer, RetrievalIndex(rows), model_id="r-1")


def answer_to(written: str, prompt: str = PROMPT, ends: bool = True, **request: Any) -> GenerateResponse:
    """The answer of a model that writes `written` to `prompt`."""
    return generator(written, prompt=prompt, ends=ends).generate(GenerateRequest(prompt=prompt, **request))


def test_what_the_model_writes_is_the_answer() -> None:
    answer = answer_to("nums[::-1]")

    assert (answer.code, answer.source, answer.finish_reason) == ("nums[::-1]", "model", "eos")
    assert (answer.repaired, answer.similarity, answer.matched_prompt, answer.note) == (False, None, None, None)
    assert answer.model_id == "r-1"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(PROMPT) + 2, len("nums[::-1]"))
    assert answer.seconds > 0


def test_a_repair_of_the_models_text_is_marked() -> None:
    answer = answer_to("nums[::-1]", max_new_tokens=9)

    assert (answer.code, answer.source, answer.repaired, answer.finish_reason) == (
        "nums[::-1]",
        "model",
        True,
        "length",
    )


def test_without_post_processing_the_text_is_as_the_model_wrote_it() -> None:
    answer = answer_to("nums[::-1]", max_new_tokens=9, post_process=False)

    assert (answer.code, answer.source, answer.repaired) == ("nums[::-1", "model", False)


@pytest.mark.parametrize(
    ("written", "ends", "why"),
    [
        ("", True, "empty"),
        (" \n ", True, "empty"),
        ("x", True, "too short"),
        ("0, ", False, "repeats itself"),
        ("))) no python", True, "not Python"),
    ],
)
def test_an_unusable_text_gives_the_nearest_training_rows_code_and_says_why(written: str, ends: bool, why: str) -> None:
    answer = answer_to(written, ends=ends)

    assert (answer.code, answer.source, answer.repaired) == ("items[::-1]", "retrieval", False)
    assert answer.matched_prompt == "reverse the list items"
    assert answer.similarity is not None
    assert 70 <= answer.similarity < 100
    assert answer.note is not None
    assert why in answer.note


@pytest.mark.parametrize("written", ["", "x", ")))"])
def test_below_the_floor_no_answer_is_given_rather_than_a_wrong_one(written: str) -> None:
    answer = answer_to(written, prompt="open a socket")

    assert (answer.code, answer.source, answer.similarity, answer.matched_prompt) == ("", "none", None, None)
    assert answer.note is not None
    assert "no training prompt is near enough" in answer.note


def test_the_floor_decides_what_is_near_enough() -> None:
    model, tokenizer = scripted_model("", prompt=PROMPT)
    request = GenerateRequest(prompt=PROMPT)
    sources = [
        CodeGenerator(model, tokenizer, RetrievalIndex(ROWS), model_id="m", similarity_floor=floor)
        .generate(request)
        .source
        for floor in (0.0, 70.0, 100.0)
    ]

    assert sources == ["retrieval", "retrieval", "none"]


def test_a_request_may_forbid_retrieval() -> None:
    answer = answer_to("", retrieval=False)

    assert (answer.code, answer.source, answer.similarity) == ("", "none", None)


@pytest.mark.parametrize("index", [None, RetrievalIndex([])], ids=["none", "empty"])
def test_without_training_rows_an_unusable_text_is_no_answer(index: RetrievalIndex | None) -> None:
    model, tokenizer = scripted_model("", prompt=PROMPT)

    assert (
        CodeGenerator(model, tokenizer, index, model_id="m").generate(GenerateRequest(prompt=PROMPT)).source == "none"
    )


def test_a_cancelled_request_gets_no_training_rows_code() -> None:
    answer = generator("nums[::-1]").generate(GenerateRequest(prompt=PROMPT), should_stop=lambda: True)

    assert (answer.code, answer.source, answer.finish_reason) == ("", "none", "cancelled")


def test_a_prompt_of_ten_thousand_characters_is_refused_with_the_most_that_fits() -> None:
    with pytest.raises(InvalidRequest) as caught:
        generator("nums").generate(GenerateRequest(prompt="x" * 10_000))

    assert "10000 characters" in caught.value.message
    assert "at most 125" in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.param == "prompt"


def test_the_longest_prompt_that_the_refusal_names_is_taken_and_one_more_is_not() -> None:
    whole = generator("nums")
    answer = whole.generate(GenerateRequest(prompt="x" * 125))

    assert answer.usage.prompt_tokens == 127
    with pytest.raises(InvalidRequest, match="126 characters"):
        whole.generate(GenerateRequest(prompt="x" * 126))


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
    torch.manual_seed(0)
    tokenizer = CharacterTokenizer.from_corpus([])
    model = TinyGPT(ModelConfig(vocab_size=tokenizer.vocab_size, context_length=64, layers=1, heads=1, width=16)).eval()
    untrained = CodeGenerator(model, tokenizer, model_id="m")

    def text(**parameters: Any) -> str:
        request = {"prompt": "x", "post_process": False, "retrieval": False, "max_new_tokens": 30, **parameters}
        return untrained.generate(GenerateRequest(**request)).code

    assert text(temperature=1.0, seed=1) == text(temperature=1.0, seed=1)
    assert text(temperature=1.0, seed=1) != text(temperature=1.0, seed=2)
    assert text(temperature=1.0, seed=1) != text()
    assert text(temperature=1.0, seed=1, top_p=1e-9) == text()
    assert text(repetition_penalty=2.0) != text()
    assert text(repetition_penalty=2.0, repetition_window=1) != text(repetition_penalty=2.0)
    assert len(text(max_new_tokens=3)) <= 3


def test_several_threads_get_the_answers_that_one_would() -> None:
    torch.manual_seed(0)
    tokenizer = CharacterTokenizer.from_corpus([])
    model = TinyGPT(ModelConfig(vocab_size=tokenizer.vocab_size, context_length=64, layers=1, heads=1, width=16)).eval()
    untrained = CodeGenerator(model, tokenizer, model_id="m")

    def text(seed: int) -> str:
        request = GenerateRequest(
            prompt="x" * (1 + seed), temperature=1.0, seed=seed, post_process=False, retrieval=False, max_new_tokens=20
        )
        return untrained.generate(request).code

    alone = [text(seed) for seed in range(16)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(text, range(16)))

    assert together == alone
