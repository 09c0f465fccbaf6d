"""The quick start: a gateway without a model trains one."""

import pytest

from tests.conftest import wait_until
from tests.services.gateway.conftest import StartGateway, unreachable
from tinygpt.contracts.errors import InvalidRequest
from tinygpt.contracts.runs import RunState, TrainRequest
from tinygpt.runtime.runs import RunStore


def test_the_quick_start_trains_a_model_where_no_run_under_way_gives_one(
    start_gateway: StartGateway, runs: RunStore, caplog: pytest.LogCaptureFixture
) -> None:
    runs.create(TrainRequest(promote="never"), "d-1")
    other, _ = runs.create(TrainRequest(), "d-1")
    start_gateway(unreachable, quick_start=True)

    def its_own() -> bool:
        return any(run.origin == "quick-start" for run in runs.active())

    wait_until(lambda: other.run_id in caplog.text, "it follows the other run")
    assert not its_own()
    lease = runs.start(other.run_id, 60)
    assert lease is not None
    runs.finish(lease, RunState.FAILED, error=InvalidRequest("It can't be learned from.").detail())
    wait_until(its_own, "it trains one of its own", seconds=60)
