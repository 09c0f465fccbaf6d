"""What every decoder does: continue sequences side by side, and finish them in every way."""

from collections.abc import Sequence

import pytest
import torch

from tests.inference.decoders import BACKENDS, CONFIG, TOKENIZER, decoder, precise_model, random_model
from tests.scripted_model import scripted_model
from tinygpt.data.tokenizer import CODE, PAD, PROMPT, UNK
from tinygpt.inference.backend import Backend, make_decoder
from tinygpt.inference.decoder import Decoder, SlotOutput, decode
from tinygpt.inference.postprocess import closers
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.model.block import TransformerBlock

GREEDY = SamplingParameters()
PROMPT_IDS = [PROMPT, 10, 11, 12, CODE]
EVERYTHING = SamplingParameters(temperature=1.5, top_p=0.7, repetition_penalty=1.3, repetition_window=4, seed=2)
every_backend = pytest.mark.parametrize("backend", BACKENDS)


def random_decoder(backend: Backend, *, slots: int = 1, ends: bool = False) -> Decoder:
    return decoder(backend, random_model(ends=ends), slots=slots)


def output_for(
    backend: Backend, answer: str, *, ends: bool = True, context_length: int = 64, max_new_tokens: int = 256
) -> SlotOutput:
    model, tokenizer = scripted_model(answer, prompt="say", ends=ends, context_length=context_length)
    scripted = make_decoder(model, tokenizer, backend=backend)
    return decode(scripted, tokenizer.encode_prompt("say"), GREEDY, max_new_tokens=max_new_tokens)


def text(
    backend: Backend, answer: str, *, ends: bool = True, context_length: int = 64, max_new_tokens: int = 256
) -> str:
    _, tokenizer = scripted_model(answer, prompt="say")
    part = output_for(backend, answer, ends=ends, context_length=context_length, max_new_tokens=max_new_tokens)
    return f"{tokenizer.decode(part.ids)} [{part.finish_reason}]"


def step_to_the_end(decoder: Decoder, steps: int = 8) -> dict[int, list[int]]:
    """The tokens that each slot generates until all have finished, by slot."""
    ids: dict[int, list[int]] = {}
    while parts := decoder.step(steps):
        for part in parts:
            ids.setdefault(part.slot, []).extend(part.ids)
    return ids


@every_backend
def test_greedy_decoding_takes_the_most_likely_token_and_has_its_log_probability(
    backend: Backend,
) -> None:
    model = random_model(ends=False)
    greedy = decode(decoder(backend, model), PROMPT_IDS, GREEDY, max_new_tokens=8)

    ids = list(PROMPT_IDS)
    for token, logprob in zip(greedy.ids, greedy.logprobs, strict=True):
        with torch.inference_mode():
            logits = model(torch.tensor([ids]))[0, -1]
        logits = logits.clone()
        assert logprob == pytest.approx(float(logits.log_softmax(-1)[token]), abs=1e-3)
        logits[[PAD, UNK, PROMPT, CODE]] = float("-inf")
        assert token == int(logits.argmax())
        ids.append(token)
    assert len(greedy.ids) == 8


@every_backend
def test_the_most_likely_tokens_come_with_their_log_probabilities(backend: Backend) -> None:
    model = random_model(ends=False)
    one = decoder(backend, model)
    one.prefill({0: PROMPT_IDS})
    one.begin(0, GREEDY, max_new_tokens=5, top_logprobs=3)

    parts = [part for _ in range(5) for part in one.step()]

    tops = [top for part in parts for top in part.top]
    with torch.inference_mode():
        expected = model(torch.tensor([PROMPT_IDS]))[0, -1].log_softmax(-1).topk(3)
    assert [token for token, _ in tops[0]] == expected.indices.tolist()
    assert [logprob for _, logprob in tops[0]] == pytest.approx(expected.values.tolist(), abs=1e-3)
    assert [len(top) for top in tops] == [3] * 5


@every_backend
def test_each_slot_has_as_many_of_the_most_likely_tokens_as_it_asked_for(backend: Backend) -> None:
    three = random_decoder(backend, slots=3)
    for slot, count in enumerate([2, 0, 20]):
        three.prefill({slot: PROMPT_IDS})
        three.begin(slot, GREEDY, max_new_tokens=5, top_logprobs=count)

    tops = {part.slot: part.top for part in three.step()}

    assert {slot: [len(top) for top in of_slot] for slot, of_slot in tops.items()} == {0: [2], 1: [], 2: [20]}
    assert tops[0][0] == tops[2][0][:2]


@every_backend
@pytest.mark.parametrize("parameters", [GREEDY, EVERYTHING], ids=["greedy", "everything"])
@pytest.mark.parametrize("cuts", [[1], [2, 3], [1, 2, 3, 4], [4]], ids=str)
def test_a_prompt_read_in_chunks_is_continued_as_one_read_at_once(
    backend: Backend, parameters: SamplingParameters, cuts: Sequence[int]
) -> None:
    model = precise_model(backend, ends=False)
    at_once = decode(decoder(backend, model), PROMPT_IDS, parameters, max_new_tokens=20)
    chunked = decoder(backend, model)
    for start, end in zip([0, *cuts], [*cuts, len(PROMPT_IDS)], strict=True):
        chunked.prefill({0: PROMPT_IDS[start:end]})
    chunked.begin(0, parameters, max_new_tokens=20)

    assert step_to_the_end(chunked) == {0: at_once.ids}


@every_backend
def test_a_slot_generates_what_it_would_alone_whoever_comes_and_goes_beside_it(backend: Backend) -> None:
    """Three slots and ten sequences of different parameters, begun and freed at different steps."""
    requests = [
        ([PROMPT, *range(5, 6 + i), CODE], SamplingParameters(temperature=i / 4, top_p=0.9, seed=i)) for i in range(10)
    ]
    alone = [
        decode(random_decoder(backend), ids, sampling, max_new_tokens=6 + i)
        for i, (ids, sampling) in enumerate(requests)
    ]
    together = random_decoder(backend, slots=3)
    outputs: dict[int, list[int]] = {}
    in_slot: dict[int, int] = {}
    to_begin = list(range(10))

    while to_begin or in_slot:
        for slot in range(3):
            if slot not in in_slot and to_begin:
                number = in_slot[slot] = to_begin.pop(0)
                ids, sampling = requests[number]
                together.prefill({slot: ids})
                together.begin(slot, sampling, max_new_tokens=6 + number)
        for part in together.step(2):
            outputs.setdefault(in_slot[part.slot], []).extend(part.ids)
            if part.finish_reason:
                together.free(part.slot)
                del in_slot[part.slot]

    assert [outputs[number] for number in range(10)] == [one.ids for one in alone]


@every_backend
def test_the_same_seed_gives_the_same_tokens_and_other_seeds_or_none_give_others(backend: Backend) -> None:
    def ids(seed: int | None) -> tuple[int, ...]:
        parameters = SamplingParameters(temperature=1.5, seed=seed)
        return tuple(decode(random_decoder(backend), PROMPT_IDS, parameters, max_new_tokens=20).ids)

    assert ids(7) == ids(7)
    assert len({ids(1), ids(2), ids(None), ids(None)}) == 4


@every_backend
def test_decoding_does_not_touch_the_random_state_of_the_process(backend: Backend) -> None:
    one = random_decoder(backend)
    before = torch.get_rng_state()
    decode(one, PROMPT_IDS, SamplingParameters(temperature=1.0, seed=7), max_new_tokens=5)
    decode(one, PROMPT_IDS, SamplingParameters(temperature=1.0), max_new_tokens=5)

    assert torch.equal(torch.get_rng_state(), before)


@every_backend
def test_it_finishes_at_eos_and_leaves_it_out(backend: Backend) -> None:
    assert text(backend, "nums[::-1]") == "nums[::-1] [eos]"
    assert text(backend, "") == " [eos]"


@every_backend
@pytest.mark.parametrize("max_new_tokens", [1, 4, 10])
def test_it_finishes_after_max_new_tokens_even_if_eos_would_be_next(backend: Backend, max_new_tokens: int) -> None:
    assert text(backend, "nums[::-1]", max_new_tokens=max_new_tokens) == f"{'nums[::-1]'[:max_new_tokens]} [length]"


@every_backend
def test_it_finishes_at_the_end_of_the_context(backend: Backend) -> None:
    room = 16 - len("say") - 2

    assert text(backend, "ab", ends=False, context_length=16) == f"{('ab' * 16)[:room]} [length]"
    assert text(backend, "x" * (room - 1), context_length=16) == f"{'x' * (room - 1)} [eos]"


@every_backend
def test_a_prompt_must_leave_room_for_a_token(backend: Backend) -> None:
    full = CONFIG.context_length
    one = random_decoder(backend)

    assert len(decode(one, [10] * (full - 1), GREEDY, max_new_tokens=5).ids) == 1
    with pytest.raises(ValueError, match=str(full)):
        one.prefill({0: [10] * full})
    one.free(0)
    one.prefill({0: [10] * (full - 3)})
    with pytest.raises(ValueError, match=str(full)):
        one.prefill({0: [10] * 3})
    one.free(0)
    assert decode(one, PROMPT_IDS, GREEDY, max_new_tokens=5) == decode(
        random_decoder(backend), PROMPT_IDS, GREEDY, max_new_tokens=5
    )


@every_backend
def test_a_freed_slot_forgets_its_sequence_whatever_its_state(backend: Backend) -> None:
    fresh = decode(random_decoder(backend), PROMPT_IDS, EVERYTHING, max_new_tokens=20)
    used = random_decoder(backend, slots=2)
    used.prefill({1: [20, 21, 22]})
    used.prefill({0: [20, 21, 22]})
    used.begin(0, GREEDY, max_new_tokens=9)
    used.step(2)
    used.free(0)
    used.free(1)

    assert used.step() == []
    assert decode(used, PROMPT_IDS, EVERYTHING, max_new_tokens=20) == fresh


@every_backend
def test_a_finished_slot_generates_no_more_while_others_go_on(backend: Backend) -> None:
    two = random_decoder(backend, slots=2)
    for slot, max_new_tokens in ((0, 2), (1, 5)):
        two.prefill({slot: PROMPT_IDS})
        two.begin(slot, GREEDY, max_new_tokens=max_new_tokens)

    assert {slot: len(ids) for slot, ids in step_to_the_end(two).items()} == {0: 2, 1: 5}


@every_backend
def test_an_interrupt_beforehand_cuts_one_call_short_and_loses_nothing(backend: Backend) -> None:
    whole = decode(random_decoder(backend), PROMPT_IDS, GREEDY, max_new_tokens=12)
    one = random_decoder(backend)
    one.prefill({0: PROMPT_IDS})
    one.begin(0, GREEDY, max_new_tokens=12)

    one.interrupt()
    (first,) = one.step(12)

    assert first.ids == whole.ids[:1]
    assert first.ids + step_to_the_end(one)[0] == whole.ids


@every_backend
def test_the_penalty_looks_at_the_recent_window_of_the_output_only(backend: Backend) -> None:
    model, tokenizer = scripted_model("a", prompt="aaa", ends=False, context_length=32)
    with torch.no_grad():
        model.head.weight[tokenizer.encode("b")[0]] = model.head.weight[tokenizer.encode("a")[0]] * 0.9
    one = make_decoder(model, tokenizer, backend=backend)

    def six(window: int) -> str:
        parameters = SamplingParameters(repetition_penalty=1.5, repetition_window=window)
        return tokenizer.decode(decode(one, tokenizer.encode_prompt("aaa"), parameters, max_new_tokens=6).ids)

    assert six(window=1) == "ababab"  # the prompt's a's don't count, nor does the output before the last token
    assert six(window=2) == "abaaba"


@every_backend
@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("balanced", [True, False])
def test_the_decoders_agree_with_and_without_eos(backend: Backend, ends: bool, balanced: bool) -> None:
    for seed in range(20):
        parameters = SamplingParameters(temperature=1.0, seed=seed, balanced=balanced)
        one, reference = (
            decode(random_decoder(each, ends=ends), PROMPT_IDS, parameters, max_new_tokens=20)
            for each in (backend, "torch")
        )
        assert (one.ids, one.finish_reason) == (reference.ids, reference.finish_reason)
        assert one.logprobs == pytest.approx(reference.logprobs, abs=1e-3)


@every_backend
def test_balanced_text_closes_no_bracket_that_is_not_open(backend: Backend) -> None:
    def balanced_share(balanced: bool) -> float:
        texts = [
            TOKENIZER.decode(decode(random_decoder(backend), PROMPT_IDS, parameters, max_new_tokens=25).ids)
            for parameters in (SamplingParameters(temperature=1.5, seed=seed, balanced=balanced) for seed in range(40))
        ]
        # What opens another bracket can be closed unless something is wrong before it; a comment ends with its line.
        return sum(bool(closers(text + "(") or closers(text + "\n(")) for text in texts) / len(texts)

    assert balanced_share(True) == 1
    assert balanced_share(False) < 0.9


@every_backend
def test_keys_that_are_nan_do_not_pass_for_small_ones(backend: Backend) -> None:
    model = random_model(ends=False)
    block = model.blocks[0]
    assert isinstance(block, TransformerBlock)
    with torch.no_grad():
        block.attention.query_key_value.weight[CONFIG.width] = torch.nan

    assert decode(decoder(backend, model), PROMPT_IDS, EVERYTHING, max_new_tokens=3).finish_reason == "nan"


@every_backend
def test_nan_ends_its_own_slot_and_reaches_no_other_answer(backend: Backend) -> None:
    """Neither in the slots beside it, nor in the next sequence of its own slot."""
    model = random_model(ends=False)
    alone = decode(decoder(backend, model), PROMPT_IDS, EVERYTHING, max_new_tokens=9)
    nan = next(token for token in range(20, 40) if token not in alone.ids)
    with torch.no_grad():
        model.token_embedding.weight[nan] = torch.nan
    three = decoder(backend, model, slots=3)
    three.prefill({0: PROMPT_IDS, 1: [PROMPT, *[nan] * 10, CODE], 2: PROMPT_IDS})
    for slot in range(3):
        three.begin(slot, EVERYTHING, max_new_tokens=9)

    ids: list[list[int]] = [[], [], []]
    ended: list[str | None] = [None, None, None]
    while parts := three.step(4):
        for part in parts:
            ids[part.slot] += part.ids
            ended[part.slot] = part.finish_reason
    assert (ids, ended) == ([alone.ids, [], alone.ids], ["length", "nan", "length"])

    three.free(0)
    three.prefill({0: [PROMPT, *[nan] * 10, CODE]})
    for slot in (0, 1):
        three.free(slot)
        three.prefill({slot: PROMPT_IDS})
        three.begin(slot, EVERYTHING, max_new_tokens=9)
    assert step_to_the_end(three) == {0: alone.ids, 1: alone.ids}


def test_text_of_the_vocabulary_is_decoded() -> None:
    ids = decode(random_decoder("torch"), PROMPT_IDS, GREEDY, max_new_tokens=20).ids

    assert len(TOKENIZER.decode(ids)) == len(ids)
