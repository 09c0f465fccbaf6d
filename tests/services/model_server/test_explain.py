"""`POST /explain`: one at a time, a few in the queue, and clients that hang up."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from services.model_server.context import MAX_WAITING_EXPLANATIONS
from tests.conftest import wait_until
from tests.services.conftest import PROMPT
from tests.services.model_server.conftest import ANSWER
from tinygpt.contracts.explain import Explanation
from tinygpt.inference.explain import explain


def test_a_client_that_hangs_up_ends_its_explanation_and_few_may_wait(
    scripted: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    def endless(*args: Any, should_stop: Callable[[], bool], **kwargs: Any) -> Explanation:
        wait_until(should_stop, "it is asked to stop", seconds=60)
        explanation = explain(*args, should_stop=should_stop, **kwargs)
        ended.append(explanation.finish_reason)
        return explanation

    monkeypatch.setattr("services.model_server.routes.explain.explain_answer", endless)
    statuses: list[int] = []

    def ask() -> None:
        with contextlib.suppress(httpx.ReadTimeout):
            statuses.append(
                httpx.post(
                    f"{scripted.base_url}/explain", json={"prompt": PROMPT}, timeout=3, trust_env=False
                ).status_code
            )

    asking = [threading.Thread(target=ask) for _ in range(1 + MAX_WAITING_EXPLANATIONS + 2)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert statuses == [429, 429]
    wait_until(lambda: ended[:1] == ["cancelled"], "the one under way has stopped")
    monkeypatch.undo()
    assert scripted.post("/explain", json={"prompt": PROMPT}).json()["text"] == ANSWER[:64]
