"""From a request to an answer: the model's, a training row's, or none."""

import asyncio
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from random import Random
from threading import Event, Thread, current_thread, main_thread
from typing import Any

import pytest
import torch

from tests.conftest import wait_until
from tests.scripted_model import scripted_model
from tinygpt.contracts.errors import Draining, InvalidRequest, TinyGPTError
from tinygpt.contracts.generation import GenerateDelta, GenerateRequest, GenerateResponse
from tinygpt.data.byte_pair import BytePairTokenizer
from tinygpt.data.rows import Row
from tinygpt.data.tokenizer import EOS, CharacterTokenizer, Tokenizer
from tinygpt.inference import generator as generator_module
from tinygpt.inference.backend import Backend
from tinygpt.inference.decoder import Written
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.postprocess import loops
from tinygpt.inference.retrieval import RetrievalIndex
from tinygpt.inference.sequence import Decoded
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT

PROMPT = "reverse the list nums"
ROWS = [Row("reverse the list items", "items[::-1]"), Row("sum of nums", "sum(nums)")]


def generator(
    answer: str, *, prompt: str = PROMPT, rows: list[Row] = ROWS, ends: bool = True, slots: int = 8
) -> CodeGenerator:
    model, tokenizer = scripted_model(answer, prompt=prompt, ends=ends)
    return CodeGenerator(model, tokenizer, RetrievalIndex(rows), model_id="r-1", slots=slots)


def generator_that_writes(ids: list[int], tokenizer: Tokenizer) -> CodeGenerator:
    """`scripted_model` for tokens that are no characters: the prompt "x", and then `ids`."""
    characters = "".join(map(chr, range(0x4E00, 0x4E00 + len(ids))))
    scripted, written_as = scripted_model(characters, prompt="x")
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
            model.head.weight[token] += head[written_as.encode(character)[0]]
    return CodeGenerator(model, tokenizer, model_id="m")


def answer_to(written: str, prompt: str = PROMPT, ends: bool = True, **request: Any) -> GenerateResponse:
    """The answer of a model that writes `written` to `prompt`."""
    return generator(written, prompt=prompt, ends=ends).generate(GenerateRequest(prompt=prompt, **request))


def test_what_the_model_writes_is_the_answer() -> None:
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


def test_a_repair_of_the_models_text_is_marked() -> None:
    answer = answer_to("nums[::-1]", max_new_tokens=9)

    assert answer.raw == "nums[::-1"
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
    assert answer.raw.startswith(written)
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
    answer = answer_to("", fallback="never")

    assert (answer.code, answer.source, answer.similarity) == ("", "none", None)


@pytest.mark.parametrize("index", [None, RetrievalIndex([])], ids=["none", "empty"])
def test_without_training_rows_an_unusable_text_is_no_answer(index: RetrievalIndex | None) -> None:
    model, tokenizer = scripted_model("", prompt=PROMPT)

    assert (
        CodeGenerator(model, tokenizer, index, model_id="m").generate(GenerateRequest(prompt=PROMPT)).source == "none"
    )


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


def untrained_generator(**options: Any) -> CodeGenerator:
    torch.manual_seed(0)
    tokenizer = CharacterTokenizer.from_corpus([])
    model = TinyGPT(ModelConfig(vocab_size=tokenizer.vocab_size, context_length=64, layers=1, heads=1, width=16)).eval()
    return CodeGenerator(model, tokenizer, model_id="m", **options)


def test_every_parameter_of_the_request_reaches_the_decoder() -> None:
    untrained = untrained_generator()

    def text(**parameters: Any) -> str:
        request = {"prompt": "x", "post_process": False, "fallback": "never", "max_new_tokens": 30, **parameters}
        return untrained.generate(GenerateRequest(**request)).code

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


def test_several_threads_get_the_answers_that_one_would() -> None:
    untrained = untrained_generator()

    def text(seed: int) -> str:
        request = GenerateRequest(
            prompt="x" * (1 + seed), temperature=1.0, seed=seed, post_process=False, fallback="never", max_new_tokens=20
        )
        return untrained.generate(request).code

    alone = [text(seed) for seed in range(16)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(text, range(16)))

    assert together == alone


@pytest.mark.parametrize("written", ["0x1for x in xs", "'\\d'", "1if x else 2"])
def test_odd_but_valid_syntax_in_an_answer_is_no_warning(written: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answer_to(written)

    assert caught == []


# -- n, stop strings, log probabilities


def test_each_of_n_choices_is_what_its_own_seed_gives_and_usage_is_of_all() -> None:
    untrained = untrained_generator()
    request = GenerateRequest(prompt="x", temperature=1.0, seed=5, max_new_tokens=20, post_process=False)

    answer = untrained.generate(request.model_copy(update={"n": 3}))

    alone = [untrained.generate(request.model_copy(update={"seed": 5 + i})) for i in range(3)]
    assert answer.choices is not None
    assert [choice.raw for choice in answer.choices] == [one.raw for one in alone]
    assert answer.raw == answer.choices[0].raw
    assert alone[0].choices is None
    assert answer.usage.completion_tokens == sum(one.usage.completion_tokens for one in alone)
    assert answer.usage.prompt_tokens == alone[0].usage.prompt_tokens


def test_without_a_seed_every_choice_is_another() -> None:
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


def test_log_probabilities_are_those_of_the_tokens_of_raw_with_the_likeliest_at_each_place() -> None:
    answer = answer_to("nums[::-1]", stop=["::"], logprobs=2, post_process=False)

    assert answer.logprobs is not None
    assert [token.token for token in answer.logprobs] == list("nums[")
    for token in answer.logprobs:
        first, second = token.top
        assert (first.token, first.id, first.logprob) == (token.token, token.id, token.logprob)
        assert second.logprob < first.logprob <= 0
    assert answer_to("nums", logprobs=0).logprobs is not None
    assert answer_to("nums").logprobs is None


# -- in an event loop


async def parts_of(generator: CodeGenerator, request: GenerateRequest) -> tuple[list[GenerateDelta], GenerateResponse]:
    *deltas, answer = [part async for part in generator.stream(request)]
    assert isinstance(answer, GenerateResponse)
    return [delta for delta in deltas if isinstance(delta, GenerateDelta)], answer


def without_times(answer: GenerateResponse) -> dict[str, Any]:
    return answer.model_dump(exclude={"timings"})


@pytest.mark.parametrize("written", ["nums[::-1]", "nums[::-1", "", "))) no python"])
def test_answers_in_an_event_loop_are_those_outside(written: str) -> None:
    one, request = generator(written), GenerateRequest(prompt=PROMPT, logprobs=1)

    async def ask() -> list[GenerateResponse]:
        return await asyncio.gather(*(one.answer(request) for _ in range(20)))

    expected = without_times(one.generate(request))
    assert [without_times(answer) for answer in asyncio.run(ask())] == [expected] * 20


def test_a_stream_tells_the_models_text_piece_by_piece_then_the_answer() -> None:
    request = GenerateRequest(prompt=PROMPT, logprobs=0, stop=["-1"])

    deltas, answer = asyncio.run(parts_of(generator("nums[::-1]"), request))

    assert "".join(delta.text for delta in deltas) == answer.raw == "nums[::"
    assert [token for delta in deltas for token in delta.logprobs or []] == answer.logprobs
    assert (answer.code, answer.source, answer.finish_reason) == ("nums[::]", "model", "stop")


def test_the_pieces_of_several_choices_are_told_apart() -> None:
    untrained = untrained_generator()
    request = GenerateRequest(prompt="x", temperature=1.0, seed=5, n=3, max_new_tokens=20, post_process=False)

    deltas, answer = asyncio.run(parts_of(untrained, request))

    assert answer.choices is not None
    for index, choice in enumerate(answer.choices):
        assert "".join(delta.text for delta in deltas if delta.index == index) == choice.raw


async def all_parts_of(
    generator: CodeGenerator, requests: Sequence[GenerateRequest]
) -> list[tuple[list[GenerateDelta], GenerateResponse]]:
    """`parts_of` each, of one stream for all."""
    deltas: list[list[GenerateDelta]] = [[] for _ in requests]
    answers: dict[int, GenerateResponse] = {}
    async for number, part in generator.stream_all(requests):
        assert number not in answers, "its answer is the last that comes of a request"
        if isinstance(part, GenerateDelta):
            deltas[number].append(part)
        else:
            answers[number] = part
    return [(deltas[number], answers[number]) for number in range(len(requests))]


def test_several_requests_at_once_get_each_what_it_would_get_alone() -> None:
    untrained = untrained_generator(slots=2)
    requests = [
        GenerateRequest(prompt="x" * n, temperature=1.0, seed=n, n=n, max_new_tokens=30 - 9 * n, fallback="never")
        for n in (2, 1, 3)
    ]
    alone = [without_times(untrained.generate(request)) for request in requests]

    assert [without_times(answer) for answer in asyncio.run(untrained.answer_all(requests))] == alone
    streamed = asyncio.run(all_parts_of(untrained, requests))
    assert [without_times(answer) for _, answer in streamed] == alone
    for deltas, answer in streamed:
        for index, choice in enumerate(answer.choices or [answer]):
            assert "".join(delta.text for delta in deltas if delta.index == index) == choice.raw


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("refused", ["x" * 63, "x"], ids=["too long", "one too many"])
def test_several_requests_are_taken_all_or_none(stream: bool, refused: str) -> None:
    ended: list[Decoded | TinyGPTError] = []
    untrained = untrained_generator(slots=1, max_waiting=2, on_end=ended.append)
    requests = [GenerateRequest(prompt="x", n=3), GenerateRequest(prompt=refused)]

    with pytest.raises(InvalidRequest):
        asyncio.run(all_parts_of(untrained, requests) if stream else untrained.answer_all(requests))
    untrained.generate(GenerateRequest(prompt="x"))
    assert len(ended) == 1


def test_each_choice_says_why_it_ended_when_it_ends() -> None:
    """In one slot, where a choice begins after the one before has ended."""
    written = generator("nums[::-1]", slots=1)
    request = GenerateRequest(prompt=PROMPT, n=2, stop=["-"])

    deltas, answer = asyncio.run(parts_of(written, request))

    first, second = ([delta for delta in deltas if delta.index == index] for index in (0, 1))
    assert deltas == first + second
    for pieces in (first, second):
        assert [delta.finish_reason for delta in pieces] == [None] * (len(pieces) - 1) + ["stop"]
    assert answer.finish_reason == "stop"


def test_a_piece_is_never_half_a_character() -> None:
    tokenizer = BytePairTokenizer.from_corpus([])
    ids = tokenizer.encode("a🎉é")
    one = generator_that_writes(ids, tokenizer)

    deltas, answer = asyncio.run(parts_of(one, GenerateRequest(prompt="x", post_process=False)))

    assert answer.raw == "a🎉é"
    assert [character for delta in deltas for character in delta.text] == ["a", "🎉", "é"]


def test_an_answer_cut_within_a_character_ends_before_it() -> None:
    tokenizer = BytePairTokenizer.from_corpus([])
    one = generator_that_writes(tokenizer.encode("a🎉é"), tokenizer)

    deltas, answer = asyncio.run(parts_of(one, GenerateRequest(prompt="x", max_new_tokens=4, post_process=False)))

    assert "".join(delta.text for delta in deltas) == answer.raw == "a"
    assert (answer.finish_reason, answer.usage.completion_tokens) == ("length", 4)


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_wrong_is_raised_before_anything_is_given(stream: bool) -> None:
    one = generator("nums")
    request = GenerateRequest(prompt="x" * 126)

    with pytest.raises(InvalidRequest, match="126 characters"):
        asyncio.run(parts_of(one, request) if stream else one.answer(request))
    one.close()
    with pytest.raises(Draining):
        asyncio.run(parts_of(one, GenerateRequest(prompt="x")) if stream else one.answer(GenerateRequest(prompt="x")))


def test_a_task_that_is_cancelled_and_a_stream_that_is_closed_free_their_slots() -> None:
    endless = generator("0123456789", ends=False, slots=1)
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
def test_hundreds_of_clients_that_come_ask_stream_and_hang_up_get_their_own_answers(backend: Backend) -> None:
    untrained = untrained_generator(slots=5, max_waiting=1000, backend=backend)
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
            return await untrained.answer(request)
        if kind == "streams":
            deltas, answer = await parts_of(untrained, request)
            for index, choice in enumerate(answer.choices or [answer]):
                assert "".join(delta.text for delta in deltas if delta.index == index) == choice.raw
            return answer
        if kind == "hangs up":
            task = asyncio.create_task(untrained.answer(request))
            for _ in range(random.randint(0, 30)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return None
        async with aclosing(untrained.stream(request)) as stream:
            await anext(stream)
        return None

    async def ask_all() -> list[GenerateResponse | None]:
        return await asyncio.gather(*map(ask, requests, kinds))

    answers = asyncio.run(ask_all())

    for request, kind, answer in zip(requests, kinds, answers, strict=True):
        assert (answer is not None) == (kind in ("answers", "streams"))
        if answer is not None:
            assert without_times(answer) == without_times(untrained.generate(request))
    wait_until(lambda: untrained.engine.running == untrained.engine.waiting == 0, "no slot is held")


@pytest.mark.parametrize("way", ["generate", "answer", "stream"])
def test_an_answer_that_is_cut_off_because_the_model_is_put_away_is_none(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    untrained = untrained_generator(slots=1)
    request = GenerateRequest(prompt="x", max_new_tokens=60, post_process=False, fallback="never")
    step, stepping = untrained.engine._decoder.step, Event()

    def step_once_it_is_put_away(steps: int = 1) -> Sequence[Written]:
        stepping.set()
        wait_until(lambda: bool(untrained.engine._cancelled), "it is put away")
        return step(steps)

    monkeypatch.setattr(untrained.engine._decoder, "step", step_once_it_is_put_away)

    def put_away() -> None:
        stepping.wait(30)
        untrained.close()

    async def ask() -> None:
        if way == "answer":
            await untrained.answer(request)
        else:
            await parts_of(untrained, request)

    closing = Thread(target=put_away)
    closing.start()
    with pytest.raises(Draining):
        untrained.generate(request) if way == "generate" else asyncio.run(ask())
    closing.join()


@pytest.mark.parametrize("way", ["generate", "answer", "stream", "search"])
def test_a_prompt_that_the_network_has_no_number_for_is_an_error_of_its_own(way: str) -> None:
    one = generator("nums[::-1]", prompt="reverse nums")
    with torch.no_grad():
        one.model.token_embedding.weight[one.tokenizer.encode("?")] = torch.nan
    bad, good = GenerateRequest(prompt="reverse?nums"), GenerateRequest(prompt="reverse nums")
    ask: dict[str, Callable[[GenerateRequest], object]] = {
        "generate": one.generate,
        "answer": lambda request: asyncio.run(one.answer(request)),
        "stream": lambda request: asyncio.run(parts_of(one, request)),
        "search": lambda request: one.search(request, beams=2),
    }

    with pytest.raises(TinyGPTError, match="NaN"):
        ask[way](bad)
    assert one.generate(good).code == "nums[::-1]"


def test_a_text_is_judged_only_where_the_answer_depends_on_it_and_off_the_loop_where_it_is_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged: list[tuple[str, bool]] = []
    real = loops

    def noted(text: str) -> bool:
        judged.append((text, current_thread() is main_thread()))
        return real(text)

    monkeypatch.setattr(generator_module, "loops", noted)
    monkeypatch.setattr(generator_module, "_JUDGED_ON_THE_LOOP", len("nums[::-1]"))
    plain = GenerateRequest(prompt=PROMPT, post_process=False, fallback="never")
    short, long = generator("nums[::-1]"), generator("nums[::-1] ")
    assert asyncio.run(short.answer(plain)).code == "nums[::-1]"
    assert judged == []
    assert asyncio.run(short.answer(GenerateRequest(prompt=PROMPT))).code == "nums[::-1]"
    assert judged == [("nums[::-1]", True)]
    assert asyncio.run(long.answer(GenerateRequest(prompt=PROMPT))).code == "nums[::-1]"
    assert judged[1:] == [("nums[::-1] ", False)]


# -- beam search


def test_beam_search_finds_at_least_what_greedy_decoding_does_and_goes_the_same_way_afterwards() -> None:
    answer = generator("nums[::-1]").search(GenerateRequest(prompt=PROMPT), beams=3)

    assert (answer.code, answer.raw, answer.source, answer.finish_reason) == (
        "nums[::-1]",
        "nums[::-1]",
        "model",
        "eos",
    )
    assert generator("").search(GenerateRequest(prompt=PROMPT, max_new_tokens=4), beams=1).source == "retrieval"
    with pytest.raises(InvalidRequest, match="126 characters"):
        generator("nums").search(GenerateRequest(prompt="x" * 126), beams=2)
