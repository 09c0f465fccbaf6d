"""Beam search against a search of all answers, where there are few."""

import itertools
from dataclasses import replace

import pytest
import torch

from tinygpt.data.tokenizer import EOS
from tinygpt.inference.beam import Hypothesis, beam_search
from tinygpt.inference.decoder import decode
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.inference.torch_decoder import TorchDecoder
from tinygpt.model.config import Architecture, ModelConfig
from tinygpt.model.transformer import TinyGPT

CONFIG = ModelConfig(vocab_size=9, context_length=12, layers=1, heads=2, width=16, dropout=0.0, tie_weights=False)
"""The control tokens and four others, 5 to 8."""
PROMPT_IDS = [2, 5, 6, 3]
MAX_NEW_TOKENS = 4


def model(architecture: Architecture = "transformer", seed: int = 0) -> TinyGPT:
    torch.manual_seed(seed)
    gpt = TinyGPT(replace(CONFIG, architecture=architecture)).eval()
    with torch.no_grad():
        for parameter in gpt.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.4)
    return gpt


@torch.inference_mode()
def every_answer(gpt: TinyGPT, length_penalty: float) -> list[Hypothesis]:
    """Every answer of up to `MAX_NEW_TOKENS` tokens, best first."""
    answers = []
    for length in range(MAX_NEW_TOKENS + 1):
        for ids in itertools.product(range(5, 9), repeat=length):
            ended = length < MAX_NEW_TOKENS
            written = [*ids, EOS] if ended else list(ids)
            logits = gpt(torch.tensor([PROMPT_IDS + written]))[0, len(PROMPT_IDS) - 1 : -1]
            logprob = float(logits.log_softmax(-1)[range(len(written)), written].sum())
            score = logprob / len(written) ** length_penalty
            answers.append(Hypothesis(ids, logprob, score, "eos" if ended else "length"))
    return sorted(answers, key=lambda answer: -answer.score)


@pytest.mark.parametrize("architecture", ["transformer", "lstm", "mamba"])
@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 1.0])
def test_as_many_beams_as_answers_find_the_best_one(architecture: Architecture, length_penalty: float) -> None:
    gpt = model(architecture)

    found = beam_search(
        gpt, PROMPT_IDS, beams=5**MAX_NEW_TOKENS, max_new_tokens=MAX_NEW_TOKENS, length_penalty=length_penalty
    )

    best = every_answer(gpt, length_penalty)[0]
    assert (found[0].ids, found[0].finish_reason) == (best.ids, best.finish_reason)
    assert found[0].logprob == pytest.approx(best.logprob, abs=1e-4)
    assert found[0].score == pytest.approx(best.score, abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_every_answer_has_its_true_score_and_the_best_comes_first(seed: int) -> None:
    gpt = model(seed=seed)
    true = {answer.ids: answer for answer in every_answer(gpt, 1.0)}

    found = beam_search(gpt, PROMPT_IDS, beams=3, max_new_tokens=MAX_NEW_TOKENS)

    assert 1 <= len(found) <= 3
    assert len({answer.ids for answer in found}) == len(found)
    for answer in found:
        assert answer.score == pytest.approx(true[answer.ids].score, abs=1e-4)
    assert [answer.score for answer in found] == sorted((answer.score for answer in found), reverse=True)


def test_one_beam_is_greedy_decoding() -> None:
    for seed in range(5):
        gpt = model(seed=seed)
        greedy = decode(TorchDecoder(gpt), PROMPT_IDS, SamplingParameters(), max_new_tokens=MAX_NEW_TOKENS)

        (found,) = beam_search(gpt, PROMPT_IDS, beams=1, max_new_tokens=MAX_NEW_TOKENS)

        assert (list(found.ids), found.finish_reason) == (greedy.ids, greedy.finish_reason)


def test_more_beams_find_more_likely_answers_than_greedy_decoding() -> None:
    gains = []
    for seed in range(20):
        gpt = model(seed=seed)
        narrow, wide = (
            beam_search(gpt, PROMPT_IDS, beams=beams, max_new_tokens=MAX_NEW_TOKENS, length_penalty=0.0)[0].logprob
            for beams in (1, 8)
        )
        gains.append(wide - narrow)

    assert max(gains) > 0.1
    assert min(gains) > -1e-4


def test_the_penalty_decides_between_short_and_long() -> None:
    lengths = {0.0: 0, 1.0: 0}
    for seed in range(20):
        for length_penalty in lengths:
            (best, *_) = beam_search(
                model(seed=seed), PROMPT_IDS, beams=20, max_new_tokens=MAX_NEW_TOKENS, length_penalty=length_penalty
            )
            lengths[length_penalty] += len(best.ids)

    assert lengths[0.0] < lengths[1.0]


def test_the_context_bounds_the_answer() -> None:
    gpt = model()
    with torch.no_grad():
        gpt.final_norm.weight.zero_()
        gpt.final_norm.bias.fill_(1.0)
        gpt.head.weight[EOS] = -10.0

    (found,) = beam_search(gpt, [5] * 10, beams=1, max_new_tokens=100)

    assert (len(found.ids), found.finish_reason) == (2, "length")
