"""Apps under a real uvicorn, a volume with trained models on it, and settings that read nothing of this machine."""

import contextlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from services.gateway.settings import GatewaySettings
from services.model_server.settings import ModelServerSettings
from tests.conftest import free_port, wait_until
from tests.scripted_model import scripted_model
from tinygpt.contracts.evaluation import EvaluationSummary
from tinygpt.contracts.models import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    TRAINING_ROWS,
    FileEntry,
    Manifest,
)
from tinygpt.contracts.runs import RunMetrics
from tinygpt.data.rows import Row, write_rows
from tinygpt.durable import sha256_of
from tinygpt.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tinygpt.model.config import ModelConfig
from tinygpt.runtime.logging import configure_logging
from tinygpt.runtime.settings import ENV_PREFIX
from tinygpt.runtime.volume import Volume
from tinygpt.training.config import TrainConfig
from tinygpt.training.run import train

ROWS = [
    Row(f"{verb} the list {name}", code.format(name))
    for verb, code in (("reverse", "{}[::-1]"), ("sort", "sorted({})"), ("count", "len({})"))
    for name in ("nums", "items", "words", "xs")
]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of this machine, no `.env` of this checkout."""
    for name in list(os.environ):
        if name.startswith(ENV_PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def plain_logging() -> Iterator[None]:
    """Logs as in production, without the costly traces that structlog shows by default."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    configure_logging("test", format="json", level="info")
    yield
    root.handlers, root.level = handlers, level


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def volume(home: Path) -> Volume:
    """The session's volume, empty."""
    for entry in home.iterdir():
        shutil.rmtree(entry)
    return Volume(home)


StoreModel = Callable[[str], str]


@pytest.fixture
def store_model(volume: Volume) -> StoreModel:
    """Trains a minute model for two steps and leaves it on the volume as the given run's, not promoted."""

    def store(run_id: str) -> str:
        folder = volume.run(run_id)
        folder.mkdir(parents=True)
        config = TrainConfig(
            model=ModelConfig(layers=1, heads=2, width=16, context_length=512),
            batch_size=4,
            max_steps=2,
            max_seconds=None,
            seed=len(list(volume.runs.iterdir())),
            threads=1,
        )
        result = train(config, ROWS, folder=folder)
        assert result.metrics is not None
        write_manifest(volume, run_id, result.metrics)
        return run_id

    return store


EVALUATION = EvaluationSummary(
    rows=50,
    samples=1,
    temperature=0.0,
    model_pass_at_1=0.5,
    system_pass_at_1=0.6,
    model_pass_at_1_by_split={"held_out_slots": 0.75},
    parse_rate=0.9,
    exact_match=0.4,
    retrieval_share=0.1,
    unanswered_share=0.0,
    memorised_share=0.2,
    seconds=3.0,
)


def write_manifest(volume: Volume, run_id: str, metrics: RunMetrics) -> None:
    """Of the files in the run's folder."""
    folder = volume.run(run_id)
    names = [name for name in (BEST_CHECKPOINT, LAST_CHECKPOINT, TRAINING_ROWS) if (folder / name).exists()]
    manifest = Manifest(
        run_id=run_id,
        dataset_id="d-1",
        created_at=time.time(),
        files={n: FileEntry(sha256=sha256_of(folder / n), size_bytes=(folder / n).stat().st_size) for n in names},
        metrics=metrics,
        evaluation=EVALUATION,
        hyperparameters=asdict(load_checkpoint(folder / BEST_CHECKPOINT).model.config),
    )
    volume.write_manifest(manifest)


PROMPT = "reverse the list nums"
"""What a scripted model answers to."""


def store_scripted_model(volume: Volume, run_id: str, answer: str, *, ends: bool = True) -> None:
    """Leave a model on the volume that greedily answers `PROMPT` with `answer`, and promote it."""
    folder = volume.run(run_id)
    folder.mkdir(parents=True)
    model, tokenizer = scripted_model(answer, prompt=PROMPT, context_length=256, ends=ends)
    save_checkpoint(Checkpoint(model, tokenizer), folder / BEST_CHECKPOINT)
    write_rows(folder / TRAINING_ROWS, ROWS)
    metrics = RunMetrics(
        steps=1,
        seconds=1,
        validation_loss=1,
        bits_per_character=1,
        parameters=model.parameter_count,
        training_rows=len(ROWS),
        validation_rows=1,
        stopped_by="max_steps",
    )
    write_manifest(volume, run_id, metrics)
    volume.promote(run_id)


@pytest.fixture
def model_server_settings(volume: Volume) -> ModelServerSettings:
    return ModelServerSettings(_env_file=None, home=volume.home, model_server_follow_seconds=0.05)


@pytest.fixture
def gateway_settings(volume: Volume, redis_url: str) -> GatewaySettings:
    return settings_of_gateway(volume.home, redis_url)


def settings_of_gateway(home: Path, redis_url: str) -> GatewaySettings:
    return GatewaySettings(
        _env_file=None,
        home=home,
        redis_url=redis_url,
        quick_start=False,
        request_timeout=10,
        max_upload_mb=0.2,
        max_queued_runs=4,
    )


@contextlib.contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The app under a real uvicorn, in a thread; yields its address."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "uvicorn starts")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)
