"""One training job in this process, on a real Redis and a real volume: how a run ends, and what it leaves."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from services.trainer import scoring
from services.trainer.job import run_training
from services.trainer.promotion import judge
from services.trainer.reporter import RunReporter
from services.trainer.settings import TrainerSettings
from tests.conftest import free_port, running_redis, wait_until
from tests.services.conftest import ROWS, StoreModel
from tinygpt.contracts.errors import LeaseLost
from tinygpt.contracts.models import BEST_CHECKPOINT, LAST_CHECKPOINT, TRAINING_ROWS
from tinygpt.contracts.runs import DEFAULT_DATASET, Progress, Promotion, RunRecord, RunState, TrainRequest
from tinygpt.data.examples import Split
from tinygpt.data.rows import Row, write_rows
from tinygpt.data.store import store_dataset
from tinygpt.durable import sha256_of
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.runtime.queue import connect, training_queue
from tinygpt.runtime.runs import RunStore
from tinygpt.runtime.settings import ENV_PREFIX
from tinygpt.runtime.volume import Volume

SHORT = {"preset": "quick-start", "context_length": 48, "batch_size": 2, "max_steps": 12, "promote": "never"}
ENDLESS = SHORT | {"max_steps": 1_000_000}


@pytest.fixture
def settings(volume: Volume, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> TrainerSettings:
    """In the environment too: that is where a job reads them."""
    values = {"home": str(volume.home), "redis_url": redis_url, "trainer_threads": "1", "lease_seconds": "5"}
    for name, value in values.items():
        monkeypatch.setenv(ENV_PREFIX + name.upper(), value)
    return TrainerSettings()


@pytest.fixture
def runs(settings: TrainerSettings) -> Iterator[RunStore]:
    with connect(settings) as decoding, connect(settings, decode_responses=False) as plain:
        yield RunStore(decoding, training_queue(plain))


@pytest.fixture(autouse=True)
def restored_signals() -> Iterator[None]:
    """A job takes SIGTERM for itself: in production it owns its process."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def dataset(volume: Volume, tmp_path: Path) -> str:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    return store_dataset(volume.datasets, tmp_path / "rows.jsonl", name="rows").dataset_id


NewRun = Callable[..., str]


@pytest.fixture
def new_run(runs: RunStore, dataset: str) -> NewRun:
    def create(**request: Any) -> str:
        record, _ = runs.create(TrainRequest.model_validate(SHORT | {"dataset": dataset} | request), dataset)
        return record.run_id

    return create


def when(condition: Callable[[], object], then: Callable[[], object]) -> threading.Thread:
    """Do `then` from another thread once `condition` holds, while this one trains."""

    def watch() -> None:
        wait_until(condition, "the job gets there")
        then()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def steps_reported(runs: RunStore, run_id: str) -> list[int]:
    return [event.data["step"] for event in runs.events(run_id) if event.type != "state"]


def trained(runs: RunStore, run_id: str) -> RunRecord:
    run_training(run_id)
    return runs.get(run_id)


# -- success


def test_rows_with_a_check_are_judged_and_the_manifest_says_how_well(
    runs: RunStore, new_run: NewRun, volume: Volume, tmp_path: Path
) -> None:
    rows = [Row(row.prompt, row.code, {"check": f"assert code == {row.code!r}"}) for row in ROWS]
    write_rows(tmp_path / "checked.jsonl", rows)
    dataset_id = store_dataset(volume.datasets, tmp_path / "checked.jsonl", name="checked").dataset_id
    record, _ = runs.create(TrainRequest.model_validate(SHORT | {"dataset": dataset_id}), dataset_id)
    assert trained(runs, record.run_id).state is RunState.SUCCEEDED
    evaluation = volume.manifest(record.run_id).evaluation
    assert evaluation is not None
    assert evaluation.rows >= 1
    assert evaluation.model_pass_at_1 <= evaluation.parse_rate <= 1


def test_a_model_of_the_bundled_dataset_is_judged_by_every_kind_that_is_held_out(
    runs: RunStore, volume: Volume, monkeypatch: pytest.MonkeyPatch, dataset: str, tmp_path: Path
) -> None:
    held_out = tmp_path / "held_out.jsonl"
    rows = [Row(f"add {i} to y", f"y + {i}", {"check": "pass", "split": f"kind {i // 100}"}) for i in range(400)]
    write_rows(held_out, rows)
    monkeypatch.setattr(scoring, "held_out_rows", lambda: held_out)
    record, _ = runs.create(TrainRequest.model_validate(SHORT), dataset)
    assert record.request.dataset == DEFAULT_DATASET
    assert trained(runs, record.run_id).state is RunState.SUCCEEDED
    evaluation = volume.manifest(record.run_id).evaluation
    assert evaluation is not None
    assert evaluation.rows == 50
    assert set(evaluation.model_pass_at_1_by_split) == {f"kind {i}" for i in range(4)}

    held_out.unlink()
    record, _ = runs.create(TrainRequest.model_validate(SHORT), dataset)
    assert trained(runs, record.run_id).state is RunState.SUCCEEDED
    assert volume.manifest(record.run_id).evaluation is None


def test_a_lease_that_is_lost_while_the_model_is_judged_is_no_failure_of_the_judge(
    volume: Volume, store_model: StoreModel
) -> None:
    checkpoint = load_checkpoint(volume.run(store_model("r-1")) / BEST_CHECKPOINT)
    held_out = [Row("add 1 to x", "x + 1", {"check": "pass"})]

    def lost() -> bool:
        raise LeaseLost("another worker has it")

    with pytest.raises(LeaseLost):
        scoring.score(checkpoint, TrainRequest(dataset="d-1"), Split(training=ROWS, held_out=held_out), lost)


def test_rows_without_a_check_are_not_judged(runs: RunStore, new_run: NewRun, volume: Volume) -> None:
    run_id = new_run()
    trained(runs, run_id)
    assert volume.manifest(run_id).evaluation is None


def test_a_run_that_succeeds_leaves_its_files_and_its_metrics(runs: RunStore, new_run: NewRun, volume: Volume) -> None:
    run_id = new_run()
    record = trained(runs, run_id)
    assert (record.state, record.attempt, record.error) == (RunState.SUCCEEDED, 1, None)
    assert record.metrics is not None
    assert (record.metrics.steps, record.metrics.stopped_by) == (12, "max_steps")
    assert record.started_at is not None
    assert record.ended_at is not None
    assert record.created_at <= record.started_at <= record.ended_at

    folder = volume.run(run_id)
    manifest = volume.manifest(run_id)
    assert manifest.metrics == record.metrics
    assert set(manifest.files) == {BEST_CHECKPOINT, LAST_CHECKPOINT, TRAINING_ROWS}
    for name, entry in manifest.files.items():
        assert (sha256_of(folder / name), (folder / name).stat().st_size) == (entry.sha256, entry.size_bytes)
    assert manifest.hyperparameters["context_length"] == 48
    assert json.loads((folder / "request.json").read_text())["run_id"] == run_id
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_progress_reaches_the_stream_the_record_and_the_file(runs: RunStore, new_run: NewRun, volume: Volume) -> None:
    run_id = new_run()
    record = trained(runs, run_id)
    published = [event for event in runs.events(run_id) if event.type != "state"]
    assert published[-1].data["step"] == 12
    assert "validation_loss" in published[-1].data
    assert record.progress is not None
    assert record.progress.step == 12
    written = [json.loads(line) for line in (volume.run(run_id) / "events.jsonl").read_text().splitlines()]
    assert [line["data"] for line in written] == [event.data for event in published]


def test_a_second_run_on_the_same_dataset_finds_its_tokens(
    runs: RunStore, new_run: NewRun, volume: Volume, dataset: str
) -> None:
    trained(runs, new_run())
    tokens = volume.dataset(dataset) / "tokens"
    before = {path: path.stat().st_mtime_ns for path in tokens.rglob("*")}
    (volume.dataset(dataset) / "rows.jsonl").unlink()

    assert trained(runs, new_run(seed=1)).state is RunState.SUCCEEDED
    assert {path: path.stat().st_mtime_ns for path in tokens.rglob("*")} == before


# -- promotion


@pytest.mark.parametrize(("mode", "served"), [("always", True), ("auto", True), ("never", False)])
def test_with_no_model_served_yet_all_but_never_promotes(
    runs: RunStore, new_run: NewRun, volume: Volume, mode: str, served: bool
) -> None:
    run_id = new_run(promote=mode)
    record = trained(runs, run_id)
    assert record.promotion is not None
    assert record.promotion.promoted is served
    current = volume.current()
    assert (current is not None and current.run_id == run_id) is served


def test_auto_serves_the_model_with_fewer_bits_per_character(runs: RunStore, new_run: NewRun, volume: Volume) -> None:
    better = new_run(promote="auto", max_steps=25)
    trained(runs, better)
    worse = trained(runs, new_run(promote="auto", max_steps=1, learning_rate=1e-6))
    assert worse.promotion is not None
    assert not worse.promotion.promoted
    assert (worse.promotion.bits_per_character or 0) > (worse.promotion.served_bits_per_character or 9)
    current = volume.current()
    assert current is not None
    assert current.run_id == better

    best = trained(runs, new_run(promote="auto", max_steps=60))
    assert best.promotion is not None
    assert best.promotion.promoted
    current = volume.current()
    assert current is not None
    assert (current.run_id, current.previous) == (best.run_id, better)


def test_a_served_model_that_cannot_be_loaded_is_replaced(
    runs: RunStore, new_run: NewRun, volume: Volume, store_model: StoreModel
) -> None:
    volume.promote(store_model("r-broken"))
    (volume.run("r-broken") / BEST_CHECKPOINT).write_bytes(b"no checkpoint")
    record = trained(runs, new_run(promote="auto"))
    assert record.promotion is not None
    assert record.promotion.promoted


def test_a_run_lost_after_its_promotion_and_judged_again_stays_promoted(
    volume: Volume, store_model: StoreModel
) -> None:
    volume.promote(store_model("r-1"))
    volume.promote(store_model("r-2"))
    challenger = load_checkpoint(volume.run("r-2") / BEST_CHECKPOINT)
    verdict = judge(volume, "r-2", challenger, ROWS, "auto", lambda: None)
    assert verdict.promoted
    assert volume.promote("r-2").previous == "r-1"


# -- other ends


def test_a_cancelled_run_saves_and_ends(runs: RunStore, new_run: NewRun, volume: Volume) -> None:
    run_id = new_run(**ENDLESS)
    thread = when(lambda: steps_reported(runs, run_id), lambda: runs.cancel(run_id))
    record = trained(runs, run_id)
    thread.join()
    assert record.state is RunState.CANCELLED
    assert (volume.run(run_id) / LAST_CHECKPOINT).exists()
    assert not (volume.run(run_id) / "manifest.json").exists()


def test_sigterm_gives_the_run_back_and_the_next_start_goes_on_from_there(
    runs: RunStore, new_run: NewRun, volume: Volume
) -> None:
    run_id = new_run(max_steps=150)
    thread = when(lambda: steps_reported(runs, run_id), lambda: os.kill(os.getpid(), signal.SIGTERM))
    record = trained(runs, run_id)
    thread.join()
    assert (record.state, record.attempt) == (RunState.QUEUED, 0)
    saved = load_checkpoint(volume.run(run_id) / LAST_CHECKPOINT).training["step"]
    assert 0 < saved < 150

    before = len(steps_reported(runs, run_id))
    record = trained(runs, run_id)
    assert (record.state, record.attempt) == (RunState.SUCCEEDED, 1)
    assert min(steps_reported(runs, run_id)[before:]) > saved


def test_a_run_that_cannot_be_trained_fails_with_a_sentence(runs: RunStore, new_run: NewRun) -> None:
    record = trained(runs, new_run(context_length=16))
    assert record.state is RunState.FAILED
    assert record.error is not None
    assert record.error.code == "training_failed"
    assert "larger context_length" in record.error.message


def test_a_dataset_that_is_gone_fails_with_a_sentence(runs: RunStore, new_run: NewRun, volume: Volume) -> None:
    run_id = new_run()
    for path in volume.dataset(runs.get(run_id).dataset_id).iterdir():
        path.unlink()
    record = trained(runs, run_id)
    assert record.state is RunState.FAILED
    assert record.error is not None
    assert "can't be read" in record.error.message


def test_a_bug_fails_the_run_and_says_where_its_trace_is(
    runs: RunStore, new_run: NewRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def surprise(*_args: object, **_kwargs: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("services.trainer.job.train", surprise)
    record = trained(runs, new_run())
    assert record.state is RunState.FAILED
    assert record.error is not None
    assert record.error.code == "internal_error"
    assert "ZeroDivisionError: a bug" in record.error.message
    assert "Traceback" in capsys.readouterr().out


# -- whose run it is


def test_a_run_that_is_no_longer_queued_is_left_alone(runs: RunStore, new_run: NewRun, volume: Volume) -> None:
    run_id = new_run()
    runs.cancel(run_id)
    assert trained(runs, run_id).state is RunState.CANCELLED
    assert not volume.run(run_id).exists()


def test_a_worker_that_lost_its_lease_stops_and_changes_nothing_more(
    runs: RunStore, new_run: NewRun, volume: Volume
) -> None:
    run_id = new_run(**ENDLESS)
    successor: list[object] = []

    def take_over() -> None:
        runs.forget_lease(run_id, os.getpid())
        runs.recover()
        successor.append(runs.start(run_id, 60))

    thread = when(lambda: steps_reported(runs, run_id), take_over)
    record = trained(runs, run_id)
    thread.join()
    assert successor[0] is not None
    assert (record.state, record.attempt) == (RunState.RUNNING, 2)
    assert not (volume.run(run_id) / LAST_CHECKPOINT).exists()


def test_a_checkpoint_is_refused_the_moment_the_lease_is_anothers(
    runs: RunStore, new_run: NewRun, tmp_path: Path
) -> None:
    run_id = new_run()
    stalled = runs.start(run_id, 60)
    assert stalled is not None
    reporter = RunReporter(runs, stalled, tmp_path / "events.jsonl")
    reporter.before_write()
    runs.forget_lease(run_id, os.getpid())
    runs.recover()
    assert runs.start(run_id, 60) is not None
    with pytest.raises(LeaseLost):
        reporter.before_write()


def test_a_process_that_was_stopped_for_long_reports_nothing_more(
    runs: RunStore, new_run: NewRun, tmp_path: Path
) -> None:
    run_id = new_run()
    stopped = runs.start(run_id, 0.2)
    assert stopped is not None
    reporter = RunReporter(runs, stopped, tmp_path / "events.jsonl")
    wait_until(lambda: runs.recover() or runs.get(run_id).state is RunState.QUEUED, "the lease lapses")
    assert runs.start(run_id, 60) is not None
    with pytest.raises(LeaseLost):
        reporter.on_step(Progress(step=1, elapsed_seconds=1.0))
    assert runs.get(run_id).progress is None
    assert not (tmp_path / "events.jsonl").exists()


def test_redis_away_for_a_moment_at_the_end_of_a_run_is_no_failure(
    volume: Volume, dataset: str, settings: TrainerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, port = tmp_path / "redis", free_port()
    folder.mkdir()
    monkeypatch.setenv("TINYGPT_REDIS_URL", f"redis://127.0.0.1:{port}/0")
    monkeypatch.setenv("TINYGPT_LEASE_SECONDS", "60")  # longer than the untrained model is scored for
    own = TrainerSettings()
    with (
        contextlib.ExitStack() as first,
        contextlib.ExitStack() as second,
        connect(own) as decoding,
        connect(own, decode_responses=False) as plain,
    ):
        first.enter_context(running_redis(folder, port))
        runs = RunStore(decoding, training_queue(plain))
        run_id = runs.create(TrainRequest.model_validate(SHORT), dataset)[0].run_id

        def judge_and_lose_redis(*args: Any) -> Promotion:
            first.close()
            return judge(*args)

        monkeypatch.setattr("services.trainer.job.judge", judge_and_lose_redis)

        def come_back() -> None:
            for _ in range(6):  # long enough for a client that asks just once to have given up
                assert not _answers(decoding)
            second.enter_context(running_redis(folder, port))

        # The manifest is the last thing that is written before the end is recorded.
        back = when((volume.run(run_id) / "manifest.json").exists, come_back)
        run_training(run_id)
        back.join()
        assert runs.get(run_id).state is RunState.SUCCEEDED


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
