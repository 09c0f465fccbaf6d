"""What /explain shows: the stages of sampling, and attention as the network computes it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.known_ngrams import know_ngrams
from tests.scripted_model import scripted_model
from tinygpt.contracts.errors import InvalidRequest, TinyGPTError
from tinygpt.contracts.explain import ExplainRequest
from tinygpt.data.tokenizer import CONTROL_TOKENS, PROMPT, CharacterTokenizer
from tinygpt.inference.explain import attention_maps, explain, sampling_stages
from tinygpt.inference.sampling import SamplingParameters, generated_tokens, next_token
from tinygpt.model.block import TransformerBlock
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT

VOCAB = 12
TOKENIZER = CharacterTokenizer.from_corpus([])


def random_model(**options: object) -> TinyGPT:
    torch.manual_seed(1)
    config = {"vocab_size": TOKENIZER.vocab_size, "context_length": 48, "layers": 2, "heads": 2, "width": 16}
    model = TinyGPT(ModelConfig(**(config | options))).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)  # far enough from uniform that tokens and heads differ
    return model


# -- the steps


def test_a_certain_model_is_shown_as_certain() -> None:
    prompt, answer = "reverse nums", "nums[::-1]"
    model, tokenizer = scripted_model(answer, prompt=prompt)
    with torch.no_grad():
        model.head.weight.mul_(100)

    explanation = explain(model, tokenizer, ExplainRequest(prompt=prompt, candidates=3), model_id="r-1")

    assert explanation.model == "r-1"
    assert [token.text for token in explanation.prompt_tokens] == ["<PROMPT>", *prompt, "<CODE>"]
    assert [step.taken.text for step in explanation.steps] == [*answer, "<EOS>"]
    assert (explanation.text, explanation.finish_reason) == (answer, "eos")
    for step in explanation.steps:
        assert step.entropy == pytest.approx(0, abs=1e-3)
        assert len(step.candidates) == 3
        assert step.candidates[0].id == step.taken.id
        assert step.candidates[0].probability == pytest.approx(1, abs=1e-3)
    assert explanation.attention is None


def test_entropy_is_in_bits() -> None:
    model, tokenizer = scripted_model("x", prompt="p")
    with torch.no_grad():
        model.head.weight.zero_()

    step = explain(model, tokenizer, ExplainRequest(prompt="p", max_new_tokens=1), model_id="r").steps[0]

    assert step.entropy == pytest.approx(math.log2(tokenizer.vocab_size), abs=1e-4)
    assert step.sampled_entropy == 0


def test_each_stage_acts_on_the_one_before() -> None:
    logits = np.full(VOCAB, -np.inf, np.float32)
    logits[5:10] = np.log([0.5, 0.25, 0.125, 0.0625, 0.0625]).astype(np.float32)
    parameters = SamplingParameters(temperature=0.5, top_k=4, top_p=0.9, min_p=0.2, repetition_penalty=2.0, seed=3)
    recent = np.array([9], np.int32)

    stages, taken = sampling_stages(logits, generated_tokens(VOCAB), recent, parameters.record(), 1)

    np.testing.assert_allclose(stages.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(stages[0, 5:10], [0.5, 0.25, 0.125, 0.0625, 0.0625], rtol=1e-5)
    penalised = np.array([0.5, 0.25, 0.125, 0.0625, 0.0625**2])
    np.testing.assert_allclose(stages[1, 5:10], penalised / penalised.sum(), rtol=1e-5)
    sharpened = penalised**2
    np.testing.assert_allclose(stages[2, 5:10], sharpened / sharpened.sum(), rtol=1e-5)
    assert (stages[3] > 0).tolist() == [5 <= i < 9 for i in range(VOCAB)]
    assert (stages[4] > 0).tolist() == [5 <= i < 7 for i in range(VOCAB)]
    assert (stages[5] > 0).tolist() == [5 <= i < 7 for i in range(VOCAB)]
    assert taken in (5, 6)


def test_control_tokens_have_a_probability_and_are_never_taken() -> None:
    logits = np.zeros(VOCAB, np.float32)
    logits[PROMPT] = 5.0
    stages, taken = sampling_stages(
        logits, generated_tokens(VOCAB), np.zeros(0, np.int32), SamplingParameters().record(), 0
    )
    assert stages[0].argmax() == PROMPT
    assert (stages[1:, PROMPT] == 0).all()
    assert taken != PROMPT


@given(
    logits=st.lists(st.floats(-20, 20, width=32), min_size=VOCAB, max_size=VOCAB),
    output=st.lists(st.integers(4, VOCAB - 1), max_size=12),
    temperature=st.sampled_from([0.0, 0.3, 1.0, 1.7]),
    top_k=st.integers(0, VOCAB),
    top_p=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.05, 0.5]),
    penalty=st.sampled_from([1.0, 1.3]),
    seed=st.integers(0, 2**63 - 1),
)
def test_the_token_shown_as_taken_is_the_one_that_decoders_take(
    logits: list[float],
    output: list[int],
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    penalty: float,
    seed: int,
) -> None:
    parameters = SamplingParameters(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=penalty,
        repetition_window=4,
        seed=seed,
    ).record()
    arguments = (np.array(logits, np.float32), generated_tokens(VOCAB), np.array(output, np.int32), parameters, 7)
    stages, taken = sampling_stages(*arguments)
    assert taken == next_token(*arguments)[0]
    assert stages[-1, taken] > 0


def test_the_token_taken_is_shown_however_unlikely() -> None:
    request = ExplainRequest(prompt="sort the list", temperature=2.0, seed=5, candidates=1, max_new_tokens=20)
    explanation = explain(random_model(), TOKENIZER, request, model_id="r")
    taken = [step.taken.id for step in explanation.steps]
    assert [step.candidates[-1].id for step in explanation.steps] == taken
    assert len(set(taken)) > 5


def test_balanced_gives_tokens_that_would_unbalance_brackets_no_probability() -> None:
    model, tokenizer = scripted_model(")]x", prompt="p")
    plain, balanced = (
        explain(model, tokenizer, ExplainRequest(prompt="p", balanced=asked, max_new_tokens=1), model_id="r").steps[0]
        for asked in (False, True)
    )
    assert plain.taken.text == ")"
    assert balanced.taken.text != ")"
    (closing,) = (candidate for candidate in balanced.candidates if candidate.text == ")")
    assert closing.probability > 0
    assert closing.after_penalty == 0


def test_a_full_context_ends_it_and_a_prompt_that_fills_it_is_refused() -> None:
    model = random_model()
    prompt = "p" * 44
    explanation = explain(model, TOKENIZER, ExplainRequest(prompt=prompt, attention=True), model_id="r")
    assert len(explanation.steps) == 2
    assert explanation.finish_reason == "length"
    with pytest.raises(InvalidRequest, match="at most 45"):
        explain(model, TOKENIZER, ExplainRequest(prompt="p" * 46), model_id="r")


def test_nan_is_an_error() -> None:
    model = random_model()
    with torch.no_grad():
        model.token_embedding.weight[TOKENIZER.encode("?")] = torch.nan
    with pytest.raises(TinyGPTError, match="NaN"):
        explain(model, TOKENIZER, ExplainRequest(prompt="sort?"), model_id="r")


# -- attention


@pytest.mark.parametrize("modern", [False, True])
def test_the_weights_are_those_that_the_network_mixes_values_by(modern: bool) -> None:
    options = {"positions": "rotary", "qk_norm": True, "convolution": 3, "ngrams": (2, 3)} if modern else {}
    model = random_model(**options)
    ids = torch.tensor([TOKENIZER.encode_prompt("sort xs")])
    know_ngrams(model, ids)
    layer = model.blocks[0]
    assert isinstance(layer, TransformerBlock)
    x = layer.attention_norm(model._embed(ids))
    _, _, values = layer.attention.queries_keys_values(x)
    mixed = (model.attention_weights(ids, [0], [0, 1])[0] @ values).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(layer.attention.output(mixed), layer.attention(x), atol=1e-4, rtol=1e-4)


def test_maps_are_triangles_of_rows_that_sum_to_1_by_layer_and_head() -> None:
    ids = TOKENIZER.encode_prompt("sort xs")
    maps = attention_maps(random_model(), ids)
    assert [(m.layer, m.head) for m in maps] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for each in maps:
        assert [len(row) for row in each.weights] == list(range(1, len(ids) + 1))
        assert [sum(row) for row in each.weights] == pytest.approx([1.0] * len(ids), abs=1e-3)
    assert len({str(each.weights) for each in maps}) == 4

    chosen = attention_maps(random_model(), ids, layers=[1], heads=[1, 0])
    assert chosen == maps[2:]


def test_only_the_layers_and_heads_that_are_shown_are_computed() -> None:
    model, ids = random_model(layers=4), TOKENIZER.encode_prompt("sort xs")
    read: list[int] = []
    for number, block in enumerate(model.blocks):
        block.register_forward_hook(lambda *_, number=number: read.append(number))

    (of_layer,) = model.attention_weights(torch.tensor([ids]), [2], [1])

    assert read == [0, 1]
    assert of_layer.shape == (1, 1, len(ids), len(ids))


def test_attention_covers_the_prompt_and_the_answer() -> None:
    request = ExplainRequest(prompt="sort xs", max_new_tokens=5, attention=True, layers=[0], heads=[0])
    explanation = explain(random_model(), TOKENIZER, request, model_id="r")
    assert explanation.attention is not None
    generated = [step for step in explanation.steps if step.taken.text not in CONTROL_TOKENS]
    assert len(explanation.attention[0].weights) == len(explanation.prompt_tokens) + len(generated)


@pytest.mark.parametrize(
    ("layers", "heads", "context", "says"),
    [([2], None, 48, "2 layers"), (None, [7], 48, "2 heads"), (None, None, 1200, "fewer layers")],
)
def test_layers_and_heads_that_do_not_exist_and_too_many_weights_are_refused(
    layers: list[int] | None, heads: list[int] | None, context: int, says: str
) -> None:
    model = random_model(context_length=context)
    ids = TOKENIZER.encode_prompt("p" * (context - 2))
    with pytest.raises(InvalidRequest, match=says):
        attention_maps(model, ids, layers, heads)


def test_a_model_without_attention_says_so() -> None:
    with pytest.raises(InvalidRequest, match="lstm"):
        attention_maps(random_model(architecture="lstm"), [2, 5, 3])


def test_attention_that_cannot_be_shown_is_refused_before_anything_is_computed() -> None:
    def never() -> bool:
        pytest.fail("it began")

    request = ExplainRequest(prompt="p", attention=True, layers=[99])
    with pytest.raises(InvalidRequest, match="layers"):
        explain(random_model(), TOKENIZER, request, model_id="r", should_stop=never)


def test_it_ends_when_should_stop_says_so() -> None:
    answers = iter([False, False, True])
    request = ExplainRequest(prompt="p", attention=True, temperature=1, seed=3)
    explanation = explain(random_model(), TOKENIZER, request, model_id="r", should_stop=lambda: next(answers))
    assert (len(explanation.steps), explanation.finish_reason, explanation.attention) == (2, "cancelled", None)
