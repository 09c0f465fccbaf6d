"""Settings of the model server that an answer depends on reach the part that they are for."""

import pytest

from tests.services.conftest import PROMPT, ROWS, store_scripted_model
from tests.services.model_server.conftest import Server, count, health, wait_for_model
from tinygpt.runtime.volume import Volume

UNUSABLE = "= = ="
"""What the scripted model writes: no Python, and nothing to repair."""


@pytest.mark.parametrize(("floor", "source"), [(0, "retrieval"), (90, "retrieval"), (99, "none")])
def test_retrieval_answers_from_the_similarity_floor_on(
    server: Server, volume: Volume, floor: float, source: str
) -> None:
    store_scripted_model(volume, "r-1", UNUSABLE)
    client = server(model_server_decoder="torch", model_server_slots=2, similarity_floor=floor)
    wait_for_model(client, "r-1")
    near = PROMPT.replace("nums", "numb")

    answer = client.post("/generate", json={"prompt": near}).json()

    assert (answer["raw"], answer["source"]) == (UNUSABLE, source)
    assert answer["code"] == (ROWS[0].code if source == "retrieval" else "")


def test_slots_and_places_to_wait_are_as_many_as_set(server: Server, volume: Volume) -> None:
    store_scripted_model(volume, "r-1", "x")
    client = server(model_server_decoder="torch", model_server_slots=3, model_server_max_waiting=2)
    wait_for_model(client, "r-1")

    def status(choices: int) -> int:
        return client.post("/generate", json={"prompt": PROMPT, "n": choices, "max_new_tokens": 1}).status_code

    assert count(client, "tinygpt_slots") == 3
    assert (status(5), status(6)) == (200, 422)


@pytest.mark.parametrize("decoder", ["torch", "compiled"])
def test_the_decoder_is_the_one_that_is_set(server: Server, volume: Volume, decoder: str) -> None:
    store_scripted_model(volume, "r-1", "x")
    client = server(model_server_decoder=decoder, model_server_slots=2, model_server_weights="bfloat16")
    wait_for_model(client, "r-1")

    model = health(client).model

    assert model is not None
    assert (model.decoder, model.weights) == (decoder, "float32" if decoder == "torch" else "bfloat16")
