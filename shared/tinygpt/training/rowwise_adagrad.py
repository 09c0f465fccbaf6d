"""Row-wise Adagrad, for tables of which a step uses few rows (Duchi et al., 2011; by rows: Mudigere et al., 2021).

Each row's step shrinks with the square root of what its gradients have summed up to, so that rare rows still learn
fast when frequent ones have settled. One number is kept for a row, and rows without a gradient cost nothing.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from tinygpt.model import fused


class RowwiseAdagrad(torch.optim.Optimizer):
    """For tables (rows, width) with sparse gradients."""

    def __init__(self, tables: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(tables, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is None:
                    continue
                state = self.state[table]
                if not state:
                    state["sum"] = torch.zeros(table.size(0), device=table.device)
                if fused.can_step(table):
                    _kernel_step(table, state["sum"], group["lr"])
                else:
                    _step(table, state["sum"], group["lr"])


def _step(table: Tensor, squares: Tensor, learning_rate: float) -> None:
    gradient = _gradient(table).coalesce()
    rows, values = gradient.indices()[0], gradient.values()
    squares.index_add_(0, rows, values.square().mean(dim=1))
    length = squares[rows].sqrt().unsqueeze(1) + 1e-12
    table.index_add_(0, rows, values / length, alpha=-learning_rate)


def _kernel_step(table: Tensor, squares: Tensor, learning_rate: float) -> None:
    gradient = _gradient(table)
    rows, values = gradient._indices()[0], gradient._values()
    rows, values = fused.sum_by_row(values.contiguous().numpy(), rows, torch.arange(len(rows) + 1), table.shape)
    fused.adagrad_rows(rows, values, squares, table, learning_rate)


def _gradient(table: Tensor) -> Tensor:
    assert table.grad is not None
    return table.grad
