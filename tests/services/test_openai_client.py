"""OpenAI's own client against a gateway and a model server, each a process of its own."""

import asyncio
from collections.abc import Iterator

import openai
import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI
from openai.types.chat import ChatCompletionChunk

from tests.conftest import wait_until
from tests.integration.stack import Stack
from tests.services.conftest import PROMPT, store_scripted_model
from tinygpt.runtime.volume import Volume

ANSWER = "def last(items):\n    return items[-1]"
KEY = "sk-of-a-test"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("home")
    store_scripted_model(Volume(home), "r-1", ANSWER)
    stack = Stack(home, tmp_path_factory.mktemp("work"), TINYGPT_API_KEYS=f"{KEY}:generate")
    try:
        stack.start("model_server")
        stack.start("gateway")
        wait_until(lambda: stack.serving() == "r-1", "the model is served", seconds=60)
        yield stack
    finally:
        stack.close()


@pytest.fixture
def client(stack: Stack) -> Iterator[OpenAI]:
    http_client = DefaultHttpxClient(trust_env=False)
    with OpenAI(base_url=f"{stack.http.base_url}/v1", api_key=KEY, max_retries=0, http_client=http_client) as client:
        yield client


def async_client(stack: Stack) -> AsyncOpenAI:
    http_client = DefaultAsyncHttpxClient(trust_env=False)
    return AsyncOpenAI(base_url=f"{stack.http.base_url}/v1", api_key=KEY, max_retries=0, http_client=http_client)


# -- models


def test_the_served_model_is_listed_by_its_alias_and_its_id(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tinygpt", "r-1"]
    assert client.models.retrieve("r-1").owned_by == "tinygpt"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4")


# -- chat


def test_the_last_user_message_is_the_prompt(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        model="tinygpt",
        messages=[
            {"role": "system", "content": "You write Python."},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
            {"role": "assistant", "content": "pass"},
            {"role": "user", "content": [{"type": "text", "text": PROMPT}]},
        ],
    )
    assert completion.object == "chat.completion"
    assert completion.id.startswith("chatcmpl-")
    assert completion.model == "r-1"
    choice = completion.choices[0]
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", ANSWER, "stop")
    assert completion.usage is not None
    assert completion.usage.completion_tokens == len(ANSWER)
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + len(ANSWER)


def test_a_streamed_chat_is_the_role_then_the_text_then_the_reason_then_the_usage(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="tinygpt",
            messages=[{"role": "user", "content": PROMPT}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *written, last = chunks
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert [chunk.choices[0].delta.role for chunk in written] == ["assistant"] + [None] * (len(written) - 1)
    assert text_of(written) == ANSWER
    assert [chunk.choices[0].finish_reason for chunk in written] == [None] * (len(written) - 1) + ["stop"]
    assert all(chunk.usage is None for chunk in written)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == len(ANSWER)


def text_of(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices if choice.index == index)


def test_without_include_usage_a_stream_has_none(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(model="r-1", messages=[{"role": "user", "content": PROMPT}], stream=True)
    )
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in chunks)


def test_the_clients_own_stream_helper_puts_the_message_together(client: OpenAI) -> None:
    with client.chat.completions.stream(model="tinygpt", messages=[{"role": "user", "content": PROMPT}]) as stream:
        completion = stream.get_final_completion()
    assert completion.choices[0].message.content == ANSWER


def test_chat_logprobs(client: OpenAI) -> None:
    request = {"model": "tinygpt", "messages": [{"role": "user", "content": PROMPT}], "max_completion_tokens": 4}
    completion = client.chat.completions.create(**request, logprobs=True, top_logprobs=2)  # type: ignore[call-overload]
    logprobs = completion.choices[0].logprobs.content
    assert [token.token for token in logprobs] == list(ANSWER[:4])
    assert bytes(logprobs[0].bytes) == ANSWER[:1].encode()
    assert all(token.top_logprobs[0].token == token.token for token in logprobs)
    assert all(token.top_logprobs[0].logprob > token.top_logprobs[1].logprob for token in logprobs)
    assert all(len(token.top_logprobs) == 2 for token in logprobs)

    plain = client.chat.completions.create(**request, logprobs=True, stream=True)  # type: ignore[call-overload]
    streamed = [chunk.choices[0].logprobs for chunk in plain]
    assert [token.token for each in streamed if each for token in each.content] == list(ANSWER[:4])


def test_n_choices_streamed_and_not(client: OpenAI) -> None:
    request = {"model": "tinygpt", "messages": [{"role": "user", "content": PROMPT}], "n": 3, "max_tokens": 9}
    whole = client.chat.completions.create(**request)  # type: ignore[call-overload]
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    assert {choice.message.content for choice in whole.choices} == {ANSWER[:9]}
    assert {choice.finish_reason for choice in whole.choices} == {"length"}
    chunks = list(client.chat.completions.create(**request, stream=True))  # type: ignore[call-overload]
    assert [text_of(chunks, index) for index in range(3)] == [ANSWER[:9]] * 3


def test_a_seed_repeats_an_answer(client: OpenAI) -> None:
    def sampled(seed: int) -> str | None:
        completion = client.chat.completions.create(
            model="tinygpt",
            messages=[{"role": "user", "content": "anything"}],
            temperature=2,
            top_p=0.99,
            seed=seed,
            max_tokens=40,
            extra_body={"top_k": 50, "min_p": 0.0001, "repetition_penalty": 1.1, "balanced": True},
        )
        assert completion.system_fingerprint is not None
        return completion.choices[0].message.content

    assert sampled(7) == sampled(7)
    assert len({sampled(seed) for seed in range(-2, 6)}) > 1


# -- completions


def test_a_completion_with_a_stop_string_and_logprobs(client: OpenAI) -> None:
    completion = client.completions.create(model="tinygpt", prompt=PROMPT, stop="return", logprobs=1)
    choice = completion.choices[0]
    until_stop = ANSWER[: ANSWER.index("return")]
    assert (choice.text, choice.finish_reason) == (until_stop, "stop")
    assert completion.id.startswith("cmpl-")
    assert choice.logprobs is not None
    assert choice.logprobs.tokens == list(until_stop)
    assert choice.logprobs.text_offset == list(range(len(until_stop)))
    assert choice.logprobs.token_logprobs is not None
    assert choice.logprobs.top_logprobs is not None
    assert list(choice.logprobs.top_logprobs[0]) == [ANSWER[0]]
    assert choice.logprobs.top_logprobs[0][ANSWER[0]] == choice.logprobs.token_logprobs[0]


def test_a_streamed_completion(client: OpenAI) -> None:
    *written, last = client.completions.create(
        model="tinygpt", prompt=PROMPT, stream=True, logprobs=0, stream_options={"include_usage": True}
    )
    assert "".join(chunk.choices[0].text for chunk in written) == ANSWER
    assert written[-1].choices[0].finish_reason == "stop"
    offsets = [
        offset for chunk in written if (logprobs := chunk.choices[0].logprobs) for offset in logprobs.text_offset or []
    ]
    assert offsets == list(range(len(ANSWER)))
    assert last.usage is not None
    assert (last.choices, last.usage.completion_tokens) == ([], len(ANSWER))


@pytest.mark.parametrize("stream", [False, True])
def test_several_prompts_get_n_answers_each(client: OpenAI, stream: bool) -> None:
    request = {"model": "tinygpt", "prompt": [PROMPT, "x"], "n": 2, "max_tokens": 5, "stream": stream}
    answered = client.completions.create(**request)  # type: ignore[call-overload]
    texts = ["", "", "", ""]
    for part in answered if stream else [answered]:
        for choice in part.choices:
            texts[choice.index] += choice.text
    assert texts[:2] == [ANSWER[:5]] * 2
    assert texts[2] == texts[3] != ANSWER[:5]


# -- errors


def test_errors_are_the_clients_own_with_our_code_and_field(client: OpenAI) -> None:
    messages = [{"role": "user", "content": PROMPT}]
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-4o", messages=messages)  # type: ignore[arg-type]
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    assert "tinygpt" in unknown.value.message
    assert unknown.value.request_id

    with pytest.raises(openai.BadRequestError) as hot:
        client.chat.completions.create(model="tinygpt", messages=messages, temperature=3)  # type: ignore[arg-type]
    assert (hot.value.code, hot.value.param, hot.value.type) == (
        "invalid_request",
        "temperature",
        "invalid_request_error",
    )

    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model="tinygpt", prompt="x" * 2000, stream=True)
    assert (long.value.code, long.value.param) == ("context_length_exceeded", "prompt")

    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()


@pytest.mark.parametrize(
    ("extra", "param", "says"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "calls nothing"),
        ({"logit_bias": {"5": 100}}, "logit_bias", "leave it out"),
        ({"frequency_penalty": 1.0}, "frequency_penalty", "use repetition_penalty"),
        ({"response_format": {"type": "json_object"}}, "response_format", "text"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages", "no user message"),
        ({"messages": [{"role": "user", "content": "  "}]}, "messages", "blank"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", "image_url"),
        ({"top_logprobs": 3}, "body", "goes with logprobs: true"),
        ({"stream_options": {"include_usage": True}}, "body", "goes with stream: true"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_would_change_the_answer_and_can_not_is_refused(
    client: OpenAI, extra: dict[str, object], param: str, says: str
) -> None:
    messages = [{"role": "user", "content": PROMPT}]
    with pytest.raises(openai.BadRequestError, match=says) as refused:
        client.chat.completions.create(model="tinygpt", messages=messages, extra_body=extra)  # type: ignore[arg-type]
    assert refused.value.param == param


def test_what_changes_nothing_is_accepted(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        model="tinygpt",
        messages=[{"role": "user", "content": PROMPT, "name": "me"}],
        user="me",
        store=False,
        metadata={"a": "b"},
        service_tier="auto",
        frequency_penalty=0,
        presence_penalty=0,
        logit_bias={},
        tools=[],
        response_format={"type": "text"},
        parallel_tool_calls=True,
        reasoning_effort="low",
        max_tokens=100_000,
        extra_body={"top_k": -1, "something_new": 1},
    )
    assert completion.choices[0].message.content == ANSWER


# -- asynchronously


def test_the_asynchronous_client_whole_and_streamed_many_at_once(stack: Stack) -> None:
    async def whole(client: AsyncOpenAI) -> str | None:
        messages = [{"role": "user", "content": PROMPT}]
        completion = await client.chat.completions.create(model="tinygpt", messages=messages)  # type: ignore[arg-type]
        return completion.choices[0].message.content

    async def streamed(client: AsyncOpenAI) -> str:
        stream = await client.completions.create(model="tinygpt", prompt=PROMPT, stream=True)
        return "".join([chunk.choices[0].text async for chunk in stream])

    async def scenario() -> list[str | None]:
        async with async_client(stack) as client:
            return await asyncio.gather(*(ask(client) for _ in range(10) for ask in (whole, streamed)))

    assert asyncio.run(scenario()) == [ANSWER] * 20


def test_a_stream_that_is_left_early_frees_its_slot(stack: Stack) -> None:
    async def scenario() -> None:
        async with async_client(stack) as client:
            stream = await client.completions.create(model="tinygpt", prompt="x", stream=True, max_tokens=200)
            async for _ in stream:
                break
            await stream.close()

    asyncio.run(scenario())
    wait_until(lambda: stack.model_server.get("/health").json()["running"] == 0, "the slot is free", seconds=5)
