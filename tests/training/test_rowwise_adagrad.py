"""Row-wise Adagrad: the formula, and that unused rows stay."""

import torch
from torch import nn

from tinygpt.training.rowwise_adagrad import RowwiseAdagrad


def test_a_row_moves_by_the_root_of_what_its_gradients_summed_up_to_and_others_stay() -> None:
    table = nn.EmbeddingBag(5, 2, mode="sum", sparse=True)
    nn.init.zeros_(table.weight)
    optimizer = RowwiseAdagrad(table.parameters(), lr=0.1)
    direction = torch.tensor([3.0, 4.0])

    for _ in range(2):
        (table(torch.tensor([[1, 3]])) @ direction).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    mean_square = (9 + 16) / 2
    moved = -0.1 * direction / mean_square**0.5 - 0.1 * direction / (2 * mean_square) ** 0.5
    expected = torch.zeros(5, 2)
    expected[[1, 3]] = moved
    torch.testing.assert_close(table.weight.detach(), expected)


def test_a_row_used_twice_in_a_step_is_one_row() -> None:
    table = nn.EmbeddingBag(3, 2, mode="sum", sparse=True)
    nn.init.zeros_(table.weight)
    optimizer = RowwiseAdagrad(table.parameters(), lr=0.1)

    table(torch.tensor([[2, 2]])).sum().backward()
    optimizer.step()

    torch.testing.assert_close(table.weight[2].detach(), torch.tensor([-0.1, -0.1]))
