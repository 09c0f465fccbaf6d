"""Row-wise Adagrad: the formula, and that unused rows stay, by the kernel and step by step."""

import pytest
import torch
from torch import nn

from tinygpt.model.ops import tables
from tinygpt.training.rowwise_adagrad import RowwiseAdagrad


@pytest.fixture(params=["compiled", "torch"], autouse=True)
def _backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "torch":
        monkeypatch.setattr(tables, "can_compile", lambda: False)


def test_a_row_moves_by_the_root_of_its_summed_squares_and_others_stay() -> None:
    table = nn.EmbeddingBag(5, 16, mode="sum", sparse=True)
    nn.init.zeros_(table.weight)
    optimizer = RowwiseAdagrad(table.parameters(), lr=0.1)
    direction = torch.tensor([3.0, 4.0]).repeat(8)

    for _ in range(2):
        (table(torch.tensor([[1, 3]])) @ direction).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    mean_square = (9 + 16) / 2
    moved = -0.1 * direction / mean_square**0.5 - 0.1 * direction / (2 * mean_square) ** 0.5
    expected = torch.zeros(5, 16)
    expected[[1, 3]] = moved
    torch.testing.assert_close(table.weight.detach(), expected)


def test_a_row_used_twice_in_a_step_is_one_row() -> None:
    table = nn.EmbeddingBag(3, 16, mode="sum", sparse=True)
    nn.init.zeros_(table.weight)
    optimizer = RowwiseAdagrad(table.parameters(), lr=0.1)

    table(torch.tensor([[2, 2]])).sum().backward()
    optimizer.step()

    torch.testing.assert_close(table.weight[2].detach(), torch.full((16,), -0.1))


def test_rows_that_are_used_again_and_again_are_told_apart() -> None:
    torch.manual_seed(0)
    table = nn.EmbeddingBag(7, 48, mode="sum", sparse=True)
    expected, squares = table.weight.detach().clone(), torch.zeros(7)
    optimizer = RowwiseAdagrad(table.parameters(), lr=0.1)
    for _ in range(3):
        ids, direction = torch.randint(5, (40, 3)), torch.randn(40, 48)
        (table(ids) * direction).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        gradient = torch.zeros(7, 48).index_add_(0, ids.flatten(), direction.repeat_interleave(3, dim=0))
        squares += gradient.square().mean(dim=1)
        expected -= 0.1 * gradient / (squares.sqrt().unsqueeze(1) + 1e-12)

    torch.testing.assert_close(table.weight.detach(), expected)


def test_a_table_of_any_width_learns() -> None:
    table = nn.EmbeddingBag(3, 5, mode="sum", sparse=True)
    before = table.weight.detach().clone()
    table(torch.tensor([[2]])).sum().backward()
    RowwiseAdagrad(table.parameters(), lr=0.1).step()
    torch.testing.assert_close(table.weight.detach(), before - torch.tensor([[0.0], [0.0], [0.1]]))
