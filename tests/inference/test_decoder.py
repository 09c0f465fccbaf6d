"""Decoding one sequence: with the cache as without, and every way to end."""

import pytest
import torch

from tests.scripted_model import scripted_model
from tinygpt.data.tokenizer import CODE, EOS, PAD, PROMPT, UNK
from tinygpt.inference.decoder import Decoded, decode
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT

CONFIG = ModelConfig(vocab_size=40, context_length=32, layers=2, heads=2, width=16, tie_weights=False)
GREEDY = SamplingParameters()
PROMPT_IDS = [PROMPT, 10, 11, 12, CODE]


@pytest.fixture(scope="module")
def model() -> TinyGPT:
    """Random weights, large enough that its choices differ, and never `<EOS>`."""
    torch.manual_seed(0)
    gpt = TinyGPT(CONFIG).eval()
    with torch.no_grad():
        for parameter in gpt.parameters():
            parameter.mul_(6)
        gpt.final_norm.weight[0] = 0.0
        gpt.final_norm.bias[0] = 1.0
        gpt.head.weight[EOS, 0] = -1000.0
    return gpt


def written(answer: str, *, ends: bool = True, context_length: int = 64, max_new_tokens: int = 256) -> tuple[str, str]:
    gpt, tokenizer = scripted_model(answer, prompt="say", ends=ends, context_length=context_length)
    decoded = decode(gpt, tokenizer.encode_prompt("say"), GREEDY, max_new_tokens=max_new_tokens)
    return tokenizer.decode(decoded.ids), decoded.finish_reason


@pytest.mark.parametrize(
    "parameters",
    [
        GREEDY,
        SamplingParameters(temperature=0.8, seed=1),
        SamplingParameters(temperature=1.5, top_p=0.7, repetition_penalty=1.3, repetition_window=4, seed=2),
    ],
    ids=["greedy", "sampled", "everything"],
)
@pytest.mark.parametrize("prompt_ids", [[PROMPT, CODE], PROMPT_IDS, [PROMPT, *range(5, 34), CODE]], ids=len)
def test_the_cache_changes_no_token(model: TinyGPT, parameters: SamplingParameters, prompt_ids: list[int]) -> None:
    cached = decode(model, prompt_ids, parameters, max_new_tokens=100)
    uncached = decode(model, prompt_ids, parameters, max_new_tokens=100, use_cache=False)

    assert cached == uncached
    assert len(cached.ids) == CONFIG.context_length - len(prompt_ids)


def test_greedy_decoding_takes_the_likeliest_token_that_may_be_written(model: TinyGPT) -> None:
    decoded = decode(model, PROMPT_IDS, GREEDY, max_new_tokens=8)

    ids = list(PROMPT_IDS)
    for token in decoded.ids:
        logits = model(torch.tensor([ids]))[0, -1]
        logits[[PAD, UNK, PROMPT, CODE]] = float("-inf")
        assert token == int(logits.argmax())
        ids.append(token)


def test_the_same_seed_gives_the_same_tokens_whatever_else_is_drawn_between(model: TinyGPT) -> None:
    parameters = SamplingParameters(temperature=1.0, seed=7)
    first = decode(model, PROMPT_IDS, parameters, max_new_tokens=20)

    torch.manual_seed(123)
    drawn: list[Decoded] = []

    def another_request_in_every_step() -> bool:
        torch.rand(3)
        drawn.append(decode(model, [PROMPT, 8, CODE], SamplingParameters(temperature=1.0, seed=9), max_new_tokens=2))
        return False

    again = decode(model, PROMPT_IDS, parameters, max_new_tokens=20, should_stop=another_request_in_every_step)

    assert again == first
    assert len(drawn) == 20


def test_decoding_does_not_touch_the_random_state_of_the_process(model: TinyGPT) -> None:
    before = torch.get_rng_state()
    decode(model, PROMPT_IDS, SamplingParameters(temperature=1.0, seed=7), max_new_tokens=5)
    decode(model, PROMPT_IDS, SamplingParameters(temperature=1.0), max_new_tokens=5)

    assert torch.equal(torch.get_rng_state(), before)


def test_other_seeds_give_other_tokens_and_so_does_none(model: TinyGPT) -> None:
    texts = {
        tuple(decode(model, PROMPT_IDS, SamplingParameters(temperature=1.5, seed=seed), max_new_tokens=20).ids)
        for seed in (1, 2, None, None)
    }

    assert len(texts) == 4


def test_it_stops_at_eos_and_leaves_it_out() -> None:
    assert written("nums[::-1]") == ("nums[::-1]", "eos")


def test_eos_at_once_is_an_empty_answer() -> None:
    assert written("") == ("", "eos")


@pytest.mark.parametrize("most", [1, 4])
def test_it_stops_after_max_new_tokens(most: int) -> None:
    assert written("nums[::-1]", max_new_tokens=most) == ("nums[::-1]"[:most], "length")


def test_an_answer_of_exactly_max_new_tokens_ends_by_length() -> None:
    assert written("nums", max_new_tokens=4) == ("nums", "length")


def test_it_stops_at_the_end_of_the_context() -> None:
    text, reason = written("ab", ends=False, context_length=16)

    assert (text, reason) == ("ababababababababab"[: 16 - len("say") - 2], "length")


def test_a_row_as_long_as_the_context_can_be_written_whole() -> None:
    assert written("x" * (16 - len("say") - 3), context_length=16) == ("x" * 10, "eos")


@pytest.mark.parametrize("tokens", [32, 33, 100])
def test_a_prompt_that_fills_the_context_leaves_nothing_to_write(model: TinyGPT, tokens: int) -> None:
    assert decode(model, [10] * tokens, GREEDY, max_new_tokens=5) == Decoded([], "length")


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_it_stops_within_a_step_when_asked_and_keeps_what_it_has(model: TinyGPT, steps: int) -> None:
    looks = iter([False] * steps + [True])

    decoded = decode(model, PROMPT_IDS, GREEDY, max_new_tokens=20, should_stop=lambda: next(looks))

    assert decoded == Decoded(decode(model, PROMPT_IDS, GREEDY, max_new_tokens=20).ids[:steps], "cancelled")


def test_the_penalty_looks_at_the_recent_window_of_the_output_only() -> None:
    gpt, tokenizer = scripted_model("a", prompt="aaa", ends=False, context_length=32)
    with torch.no_grad():
        gpt.head.weight[tokenizer.encode("b")[0]] = gpt.head.weight[tokenizer.encode("a")[0]] * 0.9

    def text(**parameters: float) -> str:
        chosen = SamplingParameters(repetition_penalty=1.5, repetition_window=int(parameters["window"]))
        return tokenizer.decode(decode(gpt, tokenizer.encode_prompt("aaa"), chosen, max_new_tokens=6).ids)

    assert text(window=1) == "ababab"  # the prompt's a's don't count, nor does the output before the last token
    assert text(window=2) == "abaaba"
