"""Threads that share a step's rows: the same gradient, the same bits every time, and errors that arrive."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tinygpt.data.rows import Row
from tinygpt.model.checkpoint import load_checkpoint
from tinygpt.model.config import ModelConfig
from tinygpt.training.config import TrainConfig
from tinygpt.training.run import train
from tinygpt.training.threads import gradient_of, set_gradients, threads

ROWS = [Row(f"add {i} to x{i % 7}", f"x{i % 7} + {i}") for i in range(60)]
CONFIG = TrainConfig(
    model=ModelConfig(context_length=48, layers=1, heads=2, width=16, dropout=0.0, ngrams=(2, 3), ngram_rows=256),
    batch_size=9,
    max_steps=12,
    max_seconds=None,
    evaluations=2,
)


def test_results_are_in_the_order_of_the_items() -> None:
    first_may_end = threading.Event()

    def task(item: int) -> int:
        first_may_end.wait(10) if item == 0 else first_may_end.set()
        return 10 * item

    with threads(2) as pair:
        assert pair.map(task, [0, 1]) == [0, 10]


def test_a_task_runs_on_one_torch_thread_and_the_number_is_restored() -> None:
    torch.set_num_threads(2)
    with threads(2) as pair:
        assert pair.map(lambda _: torch.get_num_threads(), range(4)) == [1, 1, 1, 1]
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_one_thread_is_the_calling_one_with_torch_as_it_is() -> None:
    torch.set_num_threads(2)
    with threads(1) as one:
        assert one.map(lambda _: (threading.get_ident(), torch.get_num_threads()), [0]) == [(threading.get_ident(), 2)]


def test_an_error_in_a_thread_is_raised_when_the_others_have_ended() -> None:
    ended = threading.Event()
    failed = threading.Event()

    def task(item: int) -> None:
        if item == 0:
            failed.set()
            raise MemoryError("none left")
        failed.wait(10)
        ended.set()

    with threads(2) as pair, pytest.raises(MemoryError, match="none left"):
        pair.map(task, [0, 1])
    assert ended.is_set()


def test_gradients_of_parts_sum_to_that_of_the_whole_sparse_ones_too() -> None:
    torch.manual_seed(0)
    table = torch.nn.EmbeddingBag(5, 4, mode="sum", sparse=True)
    linear = torch.nn.Linear(4, 3)
    weights = [*table.parameters(), *linear.parameters()]
    ids = torch.tensor([[0, 1], [1, 1], [4, 2]])

    linear(table(ids)).square().sum().backward()
    whole = [weight.grad.to_dense() for weight in weights if weight.grad is not None]
    parts = [gradient_of(linear(table(part)).square().sum(), weights) for part in (ids[:1], ids[1:])]
    set_gradients(weights, parts)

    torch.testing.assert_close([weight.grad.to_dense() for weight in weights if weight.grad is not None], whole)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_in_two_threads_ends_in_the_same_bits_each_time(tmp_path: Path, precision: str) -> None:
    config = replace(CONFIG, threads=2, precision=precision)  # type: ignore[arg-type]
    first, second = (train(config, ROWS, folder=tmp_path / name).best for name in ("first", "second"))

    for name, weight in load_checkpoint(first).model.state_dict().items():
        assert torch.equal(weight, load_checkpoint(second).model.state_dict()[name]), name


def test_more_threads_learn_what_one_learns(tmp_path: Path) -> None:
    config = replace(CONFIG, precision="fp32", optimizer="adamw", model=replace(CONFIG.model, ngrams=()))
    one, *more = (train(replace(config, threads=n), ROWS, folder=tmp_path / str(n)).metrics for n in (1, 2, 3, 4))

    assert one is not None
    for metrics in more:
        assert metrics is not None
        assert metrics.validation_loss == pytest.approx(one.validation_loss, rel=1e-3)


def test_a_step_with_fewer_rows_than_threads_is_taken(tmp_path: Path) -> None:
    result = train(replace(CONFIG, batch_size=1, threads=2, precision="fp32"), ROWS, folder=tmp_path)
    assert result.steps == CONFIG.max_steps
