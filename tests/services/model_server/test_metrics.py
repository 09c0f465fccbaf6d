"""What `/metrics` counts."""

import httpx

from tests.conftest import wait_until
from tests.services.model_server.conftest import Gate, count, sent


def test_answers_are_counted(served: httpx.Client) -> None:
    """By a model that was warmed, which is none of them."""
    answer = served.post("/generate", json={"prompt": "sort the list xs", "n": 2, "max_new_tokens": 3}).json()
    assert count(served, f'tinygpt_answers_total{{source="{answer["source"]}"}}') == 2
    assert count(served, 'tinygpt_http_requests_total{method="POST",route="/generate",status="200"}') == 1
    assert count(served, f'tinygpt_request_success_total{{finished_reason="{answer["finish_reason"]}"}}') == 2
    assert count(served, "tinygpt_prompt_tokens_total") == 2 * answer["usage"]["prompt_tokens"]
    assert count(served, "tinygpt_generation_tokens_total") == answer["usage"]["completion_tokens"]
    for latency in (
        "time_to_first_token_seconds",
        "time_per_output_token_seconds",
        "e2e_request_latency_seconds",
        "request_queue_time_seconds",
        "request_prefill_time_seconds",
        "request_decode_time_seconds",
    ):
        assert count(served, f"tinygpt_{latency}_count") == 2, latency
    assert count(served, 'tinygpt_model_loads_total{outcome="ok"}') == 1
    assert count(served, "tinygpt_slots") == 1


def test_what_runs_and_waits_shows(served: httpx.Client, gate: Gate) -> None:
    gate.shut()
    with sent(served, {"prompt": "p"}), sent(served, {"prompt": "p"}):
        wait_until(lambda: count(served, "tinygpt_num_requests_waiting") == 1, "one waits")
        assert count(served, "tinygpt_num_requests_running") == 1
        assert count(served, "tinygpt_slot_usage_ratio") == 1
