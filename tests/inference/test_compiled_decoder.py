"""The compiled decoder against the model it was made of, and what shorter weights cost."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.inference.decoders import TOKENIZER
from tests.known_ngrams import know_ngrams
from tinygpt.contracts.models import SERVED_WEIGHTS, WeightFormat
from tinygpt.data.bundled import bundled_rows
from tinygpt.data.rows import read_rows
from tinygpt.data.tokenizer import CODE, EOS, PROMPT
from tinygpt.inference.balance import balanced_tokens, token_texts
from tinygpt.inference.compiled_decoder import PREFILL_ROWS, CompiledDecoder
from tinygpt.inference.decoder import SlotOutput, decode
from tinygpt.inference.decoding_kernels import Rows
from tinygpt.inference.sampling import SamplingParameters, generated_tokens
from tinygpt.inference.torch_decoder import TorchDecoder
from tinygpt.model.config import SIZES, ModelConfig
from tinygpt.model.transformer import TinyGPT

GREEDY = SamplingParameters()
SAMPLED = SamplingParameters(temperature=1.2, top_p=0.9, top_k=40, min_p=0.01, repetition_penalty=1.2)
PLAIN = ModelConfig(vocab_size=TOKENIZER.vocab_size, context_length=128, layers=2, heads=2, width=32, dropout=0.0)
MODERN = replace(PLAIN, positions="rotary", qk_norm=True, convolution=3, ngrams=(2, 3, 5), ngram_rows=6000)
CONFIGS = {
    "tutorial": ModelConfig(vocab_size=TOKENIZER.vocab_size),
    "preset": replace(SIZES["tiny"], vocab_size=TOKENIZER.vocab_size, ngram_rows=6000),
    "plain": PLAIN,
    "modern": MODERN,
    "one MLP": replace(MODERN, layers=3, mlps="last"),
    "rotary": replace(PLAIN, positions="rotary"),
    "qk_norm": replace(PLAIN, qk_norm=True),
    "one tap": replace(PLAIN, convolution=1),
    "ngrams out of order": replace(PLAIN, ngrams=(4, 2), ngram_rows=6000),
    "untied": replace(PLAIN, tie_weights=False),
    "widths that are no multiples": replace(MODERN, width=42, heads=3, layers=3),
    "an odd head": replace(PLAIN, width=35, heads=5, qk_norm=True),
    "one of each": replace(PLAIN, layers=1, heads=1, width=1, context_length=3),
    "a context past a block": replace(MODERN, context_length=200),
}


def model_of(config: ModelConfig) -> TinyGPT:
    """Random weights, every one of which shows in the logits."""
    torch.manual_seed(1)
    model = know_ngrams(TinyGPT(config).eval(), torch.tensor([some_ids(config.context_length // 2)]))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return model


def compiled(
    config: ModelConfig, *, slots: int = 1, threads: int = 1, weights: WeightFormat = "float32"
) -> CompiledDecoder:
    return CompiledDecoder(model_of(config), TOKENIZER, slots=slots, threads=threads, weights=weights)


def some_ids(count: int, seed: int = 0) -> list[int]:
    return [
        int(i) for i in torch.randint(5, TOKENIZER.vocab_size, (count,), generator=torch.Generator().manual_seed(seed))
    ]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_logits_are_the_models(config: ModelConfig) -> None:
    ids = some_ids(config.context_length)
    with torch.inference_mode():
        expected = model_of(config)(torch.tensor([ids]))[0].numpy()

    np.testing.assert_allclose(compiled(config).logits(ids), expected, atol=3e-5 * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_logits_of_bytes_are_near_the_models(config: ModelConfig) -> None:
    ids = some_ids(config.context_length)
    with torch.inference_mode():
        expected = model_of(config)(torch.tensor([ids]))[0].numpy()

    error = compiled(config, weights="int8").logits(ids) - expected
    assert np.sqrt((error**2).mean() / (expected**2).mean()) < 0.05


@pytest.mark.parametrize("config", [PLAIN, MODERN], ids=["plain", "modern"])
@pytest.mark.parametrize("parameters", [GREEDY, replace(SAMPLED, seed=4)], ids=["greedy", "sampled"])
def test_texts_are_those_of_the_pytorch_decoder(config: ModelConfig, parameters: SamplingParameters) -> None:
    model = model_of(config)
    both = (CompiledDecoder(model, TOKENIZER, slots=1), TorchDecoder(model, TOKENIZER))

    for seed in range(5):
        texts = [decode(one, some_ids(8, seed), parameters, max_new_tokens=60) for one in both]
        assert texts[0].ids == texts[1].ids
        assert texts[0].finish_reason == texts[1].finish_reason
        assert texts[0].logprobs == pytest.approx(texts[1].logprobs, abs=1e-3)


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_slot_writes_the_same_bit_for_bit_alone_and_in_any_company(weights: WeightFormat, threads: int) -> None:
    """Lengths of prompts and answers differ, so that the number of rows in a step keeps changing."""
    prompts = [some_ids(3 + 2 * seed, seed) for seed in range(11)]
    parameters = [replace(SAMPLED, seed=seed) for seed in range(11)]
    alone = []
    for prompt, sampling in zip(prompts, parameters, strict=True):
        text = decode(compiled(MODERN, weights=weights), prompt, sampling, max_new_tokens=5 + len(prompt))
        alone.append((text.ids, text.logprobs))

    together = compiled(MODERN, slots=11, threads=threads, weights=weights)
    together.prefill(dict(enumerate(prompts)))
    for slot, prompt in enumerate(prompts):
        together.begin(slot, parameters[slot], max_new_tokens=5 + len(prompt))
    written: list[tuple[list[int], list[float]]] = [([], []) for _ in prompts]
    while parts := together.step(4):
        for part in parts:
            written[part.slot][0].extend(part.ids)
            written[part.slot][1].extend(part.logprobs)

    assert written == alone


@pytest.mark.parametrize("failing", [0, 1, 3])
def test_an_error_in_one_thread_is_raised_when_all_have_ended(failing: int) -> None:
    four, ended = compiled(PLAIN, slots=4, threads=4), set[int]()

    def take(_rows: Rows, number: int, _last: int) -> None:
        if number == failing:
            raise RuntimeError("no memory")
        time.sleep(0.02 * number)  # in place of work
        ended.add(number)

    with pytest.raises(RuntimeError, match="no memory"):
        four._share(4, take)
    assert ended == {0, 1, 2, 3} - {failing}


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
def test_a_prompt_read_in_chunks_is_the_same_bit_for_bit(weights: WeightFormat) -> None:
    """Of which some are longer than the rows that are read at once."""
    prompt = some_ids(PREFILL_ROWS * 2 + 9)
    whole, in_chunks = compiled(MODERN, weights=weights), compiled(MODERN, weights=weights)
    whole.prefill({0: prompt})
    for start, end in ((0, 1), (1, 3), (3, 3), (3, 40), (40, len(prompt))):
        in_chunks.prefill({0: prompt[start:end]})

    texts = []
    for one in (whole, in_chunks):
        one.begin(0, GREEDY, max_new_tokens=30)
        (part,) = one.step(30)
        texts.append((part.ids, part.logprobs))
    assert texts[0] == texts[1]


def test_a_slot_that_ends_does_not_cut_the_call_short_for_the_others() -> None:
    three = compiled(MODERN, slots=3, threads=2)
    three.prefill(dict.fromkeys(range(3), some_ids(5)))
    for slot, most in enumerate((2, 9, 30)):
        three.begin(slot, GREEDY, max_new_tokens=most)

    parts = [(len(part.ids), part.finish_reason) for part in three.step(20)]
    assert parts == [(2, "length"), (9, "length"), (20, None)]
    assert [(len(part.ids), part.finish_reason) for part in three.step(20)] == [(10, "length")]


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
def test_a_slot_used_before_is_as_good_as_new(weights: WeightFormat) -> None:
    """Even after a sequence that ended in NaN."""
    fresh, used = compiled(MODERN, weights=weights), compiled(MODERN, weights=weights)
    decode(used, some_ids(60, seed=9), GREEDY, max_new_tokens=60)
    whole = used._weights.token_embedding.copy()
    used._weights.token_embedding[:] = np.nan
    assert decode(used, some_ids(100), GREEDY, max_new_tokens=9).finish_reason == "nan"
    used._weights.token_embedding[:] = whole

    texts = [decode(one, some_ids(4), GREEDY, max_new_tokens=50) for one in (fresh, used)]
    assert texts[0] == texts[1]


def test_the_kernels_know_no_other_architecture() -> None:
    with pytest.raises(ValueError, match="lstm"):
        CompiledDecoder(TinyGPT(replace(PLAIN, architecture="lstm")), TOKENIZER, slots=1)


ROWS = [row for row in read_rows(bundled_rows("bundled"))[::700] if len(row.prompt) + len(row.code) < 80][:40]


@pytest.fixture(scope="module")
def learnt() -> TinyGPT:
    """A small model, with everything in it that a preset has, that knows `ROWS` almost by heart."""
    torch.manual_seed(0)
    model = TinyGPT(replace(MODERN, width=64))
    examples = [TOKENIZER.encode_supervised(row.prompt, row.code) for row in ROWS]
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(example) for example, _ in examples], batch_first=True)
    know_ngrams(model, ids)
    labels = ids[:, 1:].clone()
    for label, (_, start) in zip(labels, examples, strict=True):
        label[: start - 1] = 0
    dense = [parameter for name, parameter in model.named_parameters() if "table" not in name]
    optimizers: Sequence[torch.optim.Optimizer] = (
        torch.optim.Adam(dense, lr=3e-3),
        torch.optim.SparseAdam([model.get_parameter("ngram_embedding.table.weight")], lr=3e-3),
    )
    for _ in range(120):
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), labels.flatten(), ignore_index=0)
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
    return model.eval()


def loss_of(decoder: CompiledDecoder) -> float:
    """In nats per token of the code."""
    losses: list[float] = []
    for row in ROWS:
        ids, start = TOKENIZER.encode_supervised(row.prompt, row.code)
        logits = torch.from_numpy(decoder.logits(ids[:-1])).double()
        losses += F.cross_entropy(logits[start - 1 :], torch.tensor(ids[start:]), reduction="none").tolist()
    return sum(losses) / len(losses)


def share_right(decoder: CompiledDecoder) -> float:
    answers = [decode(decoder, TOKENIZER.encode_prompt(row.prompt), GREEDY, max_new_tokens=100) for row in ROWS]
    right = [TOKENIZER.decode(answer.ids) == row.code for answer, row in zip(answers, ROWS, strict=True)]
    return sum(right) / len(right)


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_shorter_weights_change_the_loss_by_less_than_half_a_percent(learnt: TinyGPT, weights: WeightFormat) -> None:
    exact = CompiledDecoder(learnt, TOKENIZER, slots=1)
    rounded = CompiledDecoder(learnt, TOKENIZER, slots=1, weights=weights)

    assert loss_of(rounded) == pytest.approx(loss_of(exact), rel=0.005)
    assert share_right(exact) > 0.9
    assert share_right(rounded) == pytest.approx(share_right(exact), abs=0.01)


@pytest.mark.parametrize(("weights", "most"), [("bfloat16", 0.6), ("int8", 0.35)])
def test_shorter_weights_are_shorter(weights: WeightFormat, most: float) -> None:
    def size(decoder: CompiledDecoder) -> int:
        weights = decoder._weights
        parts = (weights.query_key_value, weights.attention_output, weights.expand, weights.contract, weights.head)
        return sum(part.weight.nbytes for part in parts)

    assert size(compiled(MODERN, weights=weights)) < most * size(compiled(MODERN))


FIRST_TOKEN = """
from tinygpt.contracts.models import SERVED_WEIGHTS
from tests.inference.test_compiled_decoder import GREEDY, MODERN, compiled, some_ids
from tinygpt.inference.compiled_decoder import forward, write
from tinygpt.inference.decoder import decode
decoder = compiled(MODERN, weights=SERVED_WEIGHTS)
decoder.warm()
print(decode(decoder, some_ids(4), GREEDY, max_new_tokens=20).ids)
print([[sum(counts.values()) for counts in kernel.stats[1:]] for kernel in (forward, write)])
"""


def test_the_machine_code_of_all_kernels_is_kept_for_the_next_start_of_any_model(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=110).stdout

    assert "kernels of decoding" in run("-m", "tinygpt", "compile", "decoding")

    ids, hits_and_misses = run("-c", FIRST_TOKEN).splitlines()
    assert ids == str(decode(compiled(MODERN, weights=SERVED_WEIGHTS), some_ids(4), GREEDY, max_new_tokens=20).ids)
    assert hits_and_misses == "[[1, 0], [1, 0]]"


def test_balanced_answers_are_balanced_and_others_need_not_be() -> None:
    model = model_of(replace(PLAIN, context_length=256, tie_weights=False))
    special = [*TOKENIZER.encode("()[]{}'\"#\n"), EOS]
    with torch.no_grad():
        model.head.weight[special] *= 2
    allowed, texts = generated_tokens(TOKENIZER.vocab_size), token_texts(TOKENIZER)

    def keeps_to_the_rules(answer: SlotOutput) -> bool:
        ids = [*answer.ids, EOS] if answer.finish_reason == "eos" else answer.ids
        return all(balanced_tokens(allowed, texts, np.array(ids[:i], np.int32))[ids[i]] for i in range(len(ids)))

    for one in (CompiledDecoder(model, TOKENIZER, slots=1), TorchDecoder(model, TOKENIZER)):
        for balanced in (True, False):
            answers = [
                decode(one, [PROMPT, 5 + seed, CODE], replace(SAMPLED, seed=seed, balanced=balanced), max_new_tokens=99)
                for seed in range(15)
            ]
            assert all(map(keeps_to_the_rules, answers)) == balanced
