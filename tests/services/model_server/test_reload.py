"""Models that are replaced under load: every request is answered, whole, by one model."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.conftest import wait_until
from tests.services.conftest import PROMPT, store_scripted_model
from tests.services.model_server.conftest import Server, count, health, wait_for_model
from tinygpt.runtime.volume import Volume

CLIENTS = 32
ANSWERS = {f"r-{i}": f"answer_{i} = [{i}]" for i in range(1, 5)}


async def asking(client: httpx.AsyncClient, stop: asyncio.Event, *, stream: bool) -> AsyncIterator[dict[str, Any]]:
    """One client's answers, until `stop` is set."""
    while not stop.is_set():
        body = {"prompt": PROMPT, "stream": stream}
        response = await client.post("/generate", json=body)
        assert response.status_code == 200, response.text
        if stream:
            *_, last = (line for line in response.text.splitlines() if line.startswith("data: "))
            yield httpx.Response(200, content=last.removeprefix("data: ")).json()
        else:
            yield response.json()


@pytest.mark.parametrize("decoder", ["torch", "compiled"])
def test_a_reload_under_32_clients_loses_no_request(server: Server, volume: Volume, decoder: str) -> None:
    store_scripted_model(volume, "r-1", ANSWERS["r-1"])
    served = server(model_server_decoder=decoder, model_server_slots=8)
    wait_for_model(served, "r-1")
    answered: Counter[str] = Counter()

    async def one_client(client: httpx.AsyncClient, stop: asyncio.Event, *, stream: bool) -> None:
        async for answer in asking(client, stop, stream=stream):
            assert answer["raw"] == ANSWERS[answer["model"]]
            answered[answer["model"]] += 1

    def reload(run_id: str) -> None:
        store_scripted_model(volume, run_id, ANSWERS[run_id])
        wait_until(lambda: answered[run_id] > CLIENTS, f"{run_id} answers")

    async def reloads(stop: asyncio.Event) -> None:
        try:
            for run_id in ("r-2", "r-3", "r-4"):
                await asyncio.to_thread(reload, run_id)
        finally:
            stop.set()

    async def scenario() -> None:
        stop = asyncio.Event()
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=served.base_url, timeout=60, trust_env=False, limits=limits) as client:
            clients = [one_client(client, stop, stream=i % 2 == 0) for i in range(CLIENTS)]
            await asyncio.gather(reloads(stop), *clients)

    asyncio.run(scenario())

    assert set(answered) == set(ANSWERS)
    assert count(served, 'tinygpt_request_success_total{finished_reason="eos"}') == sum(answered.values())
    assert count(served, 'tinygpt_request_success_total{finished_reason="cancelled"}') == 0
    assert count(served, 'tinygpt_model_loads_total{outcome="ok"}') == len(ANSWERS)
    assert (health(served).running, health(served).waiting) == (0, 0)
