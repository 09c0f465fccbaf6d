"""A decoder that raises, and a network that computes NaN: who ends with an error, and what they get before."""

import pytest
import torch

from tests.inference.decoders import BACKENDS, TOKENIZER, decoder, random_model
from tests.inference.scheduling import Client, FailingDecoder, known_decoder, sequence, text_alone
from tinygpt.contracts.errors import TinyGPTError
from tinygpt.inference.backend import Backend
from tinygpt.inference.scheduler import Scheduler

every_backend = pytest.mark.parametrize("backend", BACKENDS)


def test_a_decoder_that_fails_ends_all_with_the_error_and_can_be_used_again() -> None:
    asked = Client(Scheduler(FailingDecoder(known_decoder("torch", slots=2)), TOKENIZER))
    for number in range(4):
        asked.scheduler.submit(number, sequence(max_new_tokens=20, seed=1))
    with pytest.raises(RuntimeError, match="out of memory"):
        asked.turn_until_idle()

    failure = TinyGPTError("it failed")
    asked.take(asked.scheduler.fail(failure))
    asked.scheduler.reset()

    assert asked.errors == dict.fromkeys(range(4), failure)
    assert not asked.scheduler.busy
    for number in range(4, 8):
        asked.scheduler.submit(number, sequence(max_new_tokens=20, seed=1))
    asked.turn_until_idle()
    assert {asked.text(number) for number in range(4, 8)} == {text_alone("torch", 3, 20, 1)}


def test_a_stream_gets_what_it_has_before_the_error_that_ends_it() -> None:
    alone = text_alone("torch", 3, 20, 1)
    failing = FailingDecoder(known_decoder("torch"))
    asked = Client(Scheduler(failing, TOKENIZER, decode_seconds=0.0, emit_interval=1e9))
    asked.scheduler.submit(0, sequence(max_new_tokens=20, seed=1, stream=True))
    with pytest.raises(RuntimeError, match="out of memory"):
        asked.turn_until_idle()
    assert asked.text(0) == alone[0]

    asked.take(asked.scheduler.fail(TinyGPTError("it failed")))

    assert asked.text(0) == alone[:2]
    assert 0 in asked.errors


@every_backend
def test_a_prompt_that_makes_the_network_compute_nan_ends_alone(backend: Backend) -> None:
    model = random_model(ends=False)
    with torch.no_grad():
        model.token_embedding.weight[10 + 70] = torch.nan
    asked = Client(Scheduler(decoder(backend, model, slots=2), TOKENIZER))
    for number, seed in enumerate((1, 70, 2, 70, 3)):
        asked.scheduler.submit(number, sequence(prompt=1, max_new_tokens=1, seed=seed))
    asked.turn_until_idle()

    assert asked.errors.keys() == {1, 3}
    assert all("NaN" in str(error) for error in asked.errors.values())
    assert asked.finished.keys() == {0, 2, 4}
    assert asked.scheduler.running == 0


@every_backend
def test_a_stream_gets_what_it_has_before_the_network_computes_nan(backend: Backend) -> None:
    model = random_model(ends=False)
    with torch.no_grad():
        model.position_embedding.weight[6] = torch.nan  # three of the prompt, three more are read, then this
    asked = Client(Scheduler(decoder(backend, model, slots=1), TOKENIZER, emit_interval=1e9))
    asked.scheduler.submit(0, sequence(prompt=1, max_new_tokens=20, seed=1, stream=True))
    asked.turn_until_idle()

    assert len(asked.text(0)) == 4
    assert asked.errors.keys() == {0}
