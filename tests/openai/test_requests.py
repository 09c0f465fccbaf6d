"""What OpenAI's clients may send, and what it becomes in the project's own words."""

from typing import Any

import pytest
from pydantic import ValidationError

from tinygpt.contracts.generation import MAX_NEW_TOKENS
from tinygpt.openai.requests import MAX_ANSWERS, ChatCompletionRequest, CompletionRequest


def completion(**fields: Any) -> CompletionRequest:
    return CompletionRequest.model_validate({"prompt": "p"} | fields)


def chat(*messages: dict[str, Any]) -> ChatCompletionRequest:
    return ChatCompletionRequest.model_validate({"messages": messages})


@pytest.mark.parametrize(
    ("sent", "taken"), [("", []), (["", "\n"], ["\n"]), ("x", ["x"]), ([str(i) for i in range(32)], None)]
)
def test_many_strings_may_stop_an_answer_and_empty_ones_stop_nothing(sent: object, taken: list[str] | None) -> None:
    (request,) = completion(stop=sent).as_generate_requests()
    assert request.stop == (sent if taken is None else taken)


@pytest.mark.parametrize("max_tokens", [None, 0, -1, 10**6])
def test_no_limit_is_as_much_as_there_is_room_for(max_tokens: int | None) -> None:
    (request,) = completion(max_tokens=max_tokens).as_generate_requests()
    assert request.max_new_tokens == MAX_NEW_TOKENS


def test_top_p_may_be_0() -> None:
    (request,) = completion(top_p=0).as_generate_requests()
    assert 0 < request.top_p < 1e-3


def test_prompts_times_n_are_bounded() -> None:
    assert len(completion(prompt=["p"] * MAX_ANSWERS).as_generate_requests()) == MAX_ANSWERS
    assert len(completion(prompt=["p"] * (MAX_ANSWERS // 2), n=2).as_generate_requests()) == MAX_ANSWERS // 2
    for fields in ({"prompt": ["p"] * (MAX_ANSWERS + 1)}, {"prompt": ["p"] * (MAX_ANSWERS // 2 + 1), "n": 2}):
        with pytest.raises(ValidationError):
            completion(**fields)


@pytest.mark.parametrize("prompt", [[1, 2], [[1, 2], [3]]])
def test_token_ids_are_refused_in_a_sentence(prompt: object) -> None:
    with pytest.raises(ValidationError, match="send the prompt as text"):
        completion(prompt=prompt)


def test_only_the_prompt_itself_must_be_text() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    earlier = {"role": "user", "content": [image]}
    asked = {"role": "user", "content": [{"type": "text", "text": "p"}]}
    (request,) = chat(earlier, asked).as_generate_requests()
    assert request.prompt == "p"
    with pytest.raises(ValidationError, match="not image_url"):
        chat(asked, {"role": "user", "content": [image, {"type": "text", "text": "p"}]})
