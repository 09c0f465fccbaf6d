"""Answers and streams in an event loop: the same as outside, cancelled and closed at any time."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from random import Random
from threading import Event, Thread, current_thread, main_thread

import pytest
import torch

from tests.conftest import wait_until
from tests.inference.generators import (
    PROMPT,
    scripted_generator,
    stream_of,
    streams_of,
    token_generator,
    untrained_generator,
    without_times,
)
from tinygpt.contracts.errors import Draining, InvalidRequest, TinyGPTError
from tinygpt.contracts.generation import GenerateRequest, GenerateResponse
from tinygpt.data.byte_pair import BytePairTokenizer
from tinygpt.inference import answer as answer_module
from tinygpt.inference import generator as generator_module
from tinygpt.inference.backend import Backend
from tinygpt.inference.decoder import SlotOutput
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.postprocess import loops
from tinygpt.inference.sequence import Finished


@pytest.mark.parametrize("text", ["nums[::-1]", "nums[::-1", "", "))) no python"])
def test_answers_in_an_event_loop_are_those_outside(text: str) -> None:
    generator, request = scripted_generator(text), GenerateRequest(prompt=PROMPT, logprobs=1)

    async def ask() -> list[GenerateResponse]:
        return await asyncio.gather(*(generator.answer(request) for _ in range(20)))

    expected = without_times(generator.generate(request))
    assert [without_times(answer) for answer in asyncio.run(ask())] == [expected] * 20


def test_a_stream_gives_the_models_text_in_deltas_and_then_the_answer() -> None:
    request = GenerateRequest(prompt=PROMPT, logprobs=0, stop=["-1"])

    deltas, answer = asyncio.run(stream_of(scripted_generator("nums[::-1]"), request))

    assert "".join(delta.text for delta in deltas) == answer.raw == "nums[::"
    assert [token for delta in deltas for token in delta.logprobs or []] == answer.logprobs
    assert (answer.code, answer.source, answer.finish_reason) == ("nums[::]", "model", "stop")


def test_deltas_of_several_choices_have_their_index() -> None:
    generator = untrained_generator()
    request = GenerateRequest(prompt="x", temperature=1.0, seed=5, n=3, max_new_tokens=20, post_process=False)

    deltas, answer = asyncio.run(stream_of(generator, request))

    assert answer.choices is not None
    for index, choice in enumerate(answer.choices):
        assert "".join(delta.text for delta in deltas if delta.index == index) == choice.raw


def test_several_requests_at_once_each_get_what_they_would_get_alone() -> None:
    generator = untrained_generator(slots=2)
    requests = [
        GenerateRequest(prompt="x" * n, temperature=1.0, seed=n, n=n, max_new_tokens=30 - 9 * n, fallback="never")
        for n in (2, 1, 3)
    ]
    alone = [without_times(generator.generate(request)) for request in requests]

    assert [without_times(answer) for answer in asyncio.run(generator.answer_all(requests))] == alone
    streamed = asyncio.run(streams_of(generator, requests))
    assert [without_times(answer) for _, answer in streamed] == alone
    for deltas, answer in streamed:
        for index, choice in enumerate(answer.choices or [answer]):
            assert "".join(delta.text for delta in deltas if delta.index == index) == choice.raw


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("refused", ["x" * 63, "x"], ids=["too long", "one too many"])
def test_several_requests_are_all_taken_or_none(stream: bool, refused: str) -> None:
    ends: list[Finished | TinyGPTError] = []
    generator = untrained_generator(slots=1, max_waiting=2, on_end=ends.append)
    requests = [GenerateRequest(prompt="x", n=3), GenerateRequest(prompt=refused)]

    with pytest.raises(InvalidRequest):
        asyncio.run(streams_of(generator, requests) if stream else generator.answer_all(requests))
    generator.generate(GenerateRequest(prompt="x"))
    assert len(ends) == 1


def test_each_choice_has_its_finish_reason_in_its_last_delta() -> None:
    """In one slot, so that a choice begins after the one before has ended."""
    generator = scripted_generator("nums[::-1]", slots=1)
    request = GenerateRequest(prompt=PROMPT, n=2, stop=["-"])

    deltas, answer = asyncio.run(stream_of(generator, request))

    first, second = ([delta for delta in deltas if delta.index == index] for index in (0, 1))
    assert deltas == first + second
    for of_choice in (first, second):
        assert [delta.finish_reason for delta in of_choice] == [None] * (len(of_choice) - 1) + ["stop"]
    assert answer.finish_reason == "stop"


def test_a_delta_is_never_half_a_character() -> None:
    tokenizer = BytePairTokenizer.from_corpus([])
    generator = token_generator(tokenizer.encode("a🎉é"), tokenizer)

    deltas, answer = asyncio.run(stream_of(generator, GenerateRequest(prompt="x", post_process=False)))

    assert answer.raw == "a🎉é"
    assert [character for delta in deltas for character in delta.text] == ["a", "🎉", "é"]


def test_an_answer_cut_within_a_character_ends_before_it() -> None:
    tokenizer = BytePairTokenizer.from_corpus([])
    generator = token_generator(tokenizer.encode("a🎉é"), tokenizer)
    request = GenerateRequest(prompt="x", max_new_tokens=4, post_process=False)

    deltas, answer = asyncio.run(stream_of(generator, request))

    assert "".join(delta.text for delta in deltas) == answer.raw == "a"
    assert (answer.finish_reason, answer.usage.completion_tokens) == ("length", 4)
    assert generator.generate(request).raw == "a"


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_is_raised_before_anything_is_given(stream: bool) -> None:
    generator = scripted_generator("nums")

    def ask(prompt: str) -> None:
        request = GenerateRequest(prompt=prompt)
        asyncio.run(stream_of(generator, request) if stream else generator.answer(request))

    with pytest.raises(InvalidRequest, match="126 characters"):
        ask("x" * 126)
    generator.close()
    with pytest.raises(Draining):
        ask("x")


def test_a_cancelled_task_and_a_closed_stream_free_their_slots() -> None:
    endless = scripted_generator("0123456789", ends=False, slots=1)
    request = GenerateRequest(prompt=PROMPT)

    async def ask() -> None:
        tasks = [asyncio.create_task(endless.answer(request)) for _ in range(5)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        stream = endless.stream(request)
        await anext(stream)
        await stream.aclose()

    asyncio.run(ask())
    wait_until(lambda: endless.engine.running == endless.engine.waiting == 0, "the slots are free")


@pytest.mark.parametrize("backend", ["torch", "compiled"])
def test_hundreds_of_clients_that_ask_stream_and_hang_up_get_their_own_answers(backend: Backend) -> None:
    generator = untrained_generator(slots=5, max_waiting=1000, backend=backend)
    random = Random(0)
    requests = [
        GenerateRequest(
            prompt="x" * random.randint(1, 40),
            temperature=random.choice([0.0, 1.0]),
            seed=number % 10,
            n=random.choice([1, 1, 3]),
            max_new_tokens=random.choice([1, 5, 30]),
            post_process=False,
            fallback="never",
        )
        for number in range(300)
    ]
    kinds = [random.choice(["answers", "streams", "hangs up", "closes"]) for _ in requests]

    async def ask(request: GenerateRequest, kind: str) -> GenerateResponse | None:
        for _ in range(random.randint(0, 20)):
            await asyncio.sleep(0)
        if kind == "answers":
            return await generator.answer(request)
        if kind == "streams":
            deltas, answer = await stream_of(generator, request)
            for index, choice in enumerate(answer.choices or [answer]):
                assert "".join(delta.text for delta in deltas if delta.index == index) == choice.raw
            return answer
        if kind == "hangs up":
            task = asyncio.create_task(generator.answer(request))
            for _ in range(random.randint(0, 30)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return None
        async with aclosing(generator.stream(request)) as stream:
            await anext(stream)
        return None

    async def ask_all() -> list[GenerateResponse | None]:
        return await asyncio.gather(*map(ask, requests, kinds))

    answers = asyncio.run(ask_all())

    for request, kind, answer in zip(requests, kinds, answers, strict=True):
        assert (answer is not None) == (kind in ("answers", "streams"))
        if answer is not None:
            assert without_times(answer) == without_times(generator.generate(request))
    wait_until(lambda: generator.engine.running == generator.engine.waiting == 0, "no slot is held")


def _ways_of_asking(generator: CodeGenerator) -> dict[str, Callable[[GenerateRequest], object]]:
    return {
        "generate": generator.generate,
        "answer": lambda request: asyncio.run(generator.answer(request)),
        "stream": lambda request: asyncio.run(stream_of(generator, request)),
    }


@pytest.mark.parametrize("way", ["generate", "answer", "stream"])
def test_an_answer_cut_off_because_the_model_shuts_down_is_an_error(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = untrained_generator(slots=1)
    request = GenerateRequest(prompt="x", max_new_tokens=60, post_process=False, fallback="never")
    step, stepping = generator.engine._decoder.step, Event()

    def step_once_closing(steps: int = 1) -> Sequence[SlotOutput]:
        stepping.set()
        wait_until(lambda: bool(generator.engine._cancelled), "the generator closes")
        return step(steps)

    monkeypatch.setattr(generator.engine._decoder, "step", step_once_closing)

    def close() -> None:
        stepping.wait(30)
        generator.close()

    closing = Thread(target=close)
    closing.start()
    with pytest.raises(Draining):
        _ways_of_asking(generator)[way](request)
    closing.join()


@pytest.mark.parametrize("way", ["generate", "answer", "stream"])
def test_a_prompt_that_makes_the_network_compute_nan_is_an_error_of_its_own(way: str) -> None:
    generator = scripted_generator("nums[::-1]", prompt="reverse nums")
    with torch.no_grad():
        generator.model.token_embedding.weight[generator.tokenizer.encode("?")] = torch.nan

    with pytest.raises(TinyGPTError, match="NaN"):
        _ways_of_asking(generator)[way](GenerateRequest(prompt="reverse?nums"))
    assert generator.generate(GenerateRequest(prompt="reverse nums")).code == "nums[::-1]"


def test_a_text_is_judged_only_if_needed_and_off_the_loop_if_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[tuple[str, bool]] = []
    real = loops

    def recorded(text: str) -> bool:
        judged.append((text, current_thread() is main_thread()))
        return real(text)

    monkeypatch.setattr(answer_module, "loops", recorded)
    monkeypatch.setattr(generator_module, "_MAX_JUDGED_ON_LOOP", len("nums[::-1]"))
    plain = GenerateRequest(prompt=PROMPT, post_process=False, fallback="never")
    short, long = scripted_generator("nums[::-1]"), scripted_generator("nums[::-1] ")
    assert asyncio.run(short.answer(plain)).code == "nums[::-1]"
    assert judged == []
    assert asyncio.run(short.answer(GenerateRequest(prompt=PROMPT))).code == "nums[::-1]"
    assert judged == [("nums[::-1]", True)]
    assert asyncio.run(long.answer(GenerateRequest(prompt=PROMPT))).code == "nums[::-1]"
    assert judged[1:] == [("nums[::-1] ", False)]
