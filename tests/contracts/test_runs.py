"""Run states and the edges between them, and what a training request may say."""

import pytest
from pydantic import ValidationError

from tinygpt.contracts.runs import DEFAULT_DATASET, TRANSITIONS, RunState, TrainRequest

EDGES = {
    ("queued", "running"),
    ("queued", "cancelled"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "cancelled"),
    ("running", "queued"),
}


def test_only_the_edges_of_the_design_exist() -> None:
    assert {(str(start), str(end)) for start, ends in TRANSITIONS.items() for end in ends} == EDGES


def test_every_state_has_its_edges_listed() -> None:
    assert set(TRANSITIONS) == set(RunState)


def test_only_states_without_a_way_out_are_final() -> None:
    assert {str(state) for state in RunState if state.is_final} == {"succeeded", "failed", "cancelled"}


def test_an_empty_request_trains_the_default_preset_on_the_bundled_data() -> None:
    request = TrainRequest.model_validate_json("{}")

    assert (request.dataset, request.rows, request.preset, request.promote) == (
        DEFAULT_DATASET,
        None,
        "default",
        "auto",
    )


def test_rows_in_the_body_keep_their_further_keys() -> None:
    request = TrainRequest.model_validate({"rows": [{"prompt": "one", "code": "1", "family": "numbers"}]})

    assert request.rows is not None
    assert request.rows[0].model_dump() == {"prompt": "one", "code": "1", "family": "numbers"}


def test_rows_and_a_dataset_together_are_refused() -> None:
    with pytest.raises(ValidationError, match="either rows or dataset"):
        TrainRequest.model_validate({"dataset": "d-1", "rows": [{"prompt": "one", "code": "1"}]})


@pytest.mark.parametrize(
    "body",
    [
        {"epochs": 3},
        {"rows": []},
        {"rows": [{"prompt": "", "code": "1"}]},
        {"preset": "huge"},
        {"model": "large"},
        {"context_length": 15},
        {"batch_size": 0},
        {"learning_rate": 0},
        {"dropout": 1},
        {"max_steps": 0},
        {"max_seconds": 0},
        {"max_seconds": float("inf")},
        {"learning_rate": float("nan")},
        {"seed": -1},
        {"promote": "yes"},
    ],
    ids=str,
)
def test_what_no_run_could_use_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrainRequest.model_validate(body)
