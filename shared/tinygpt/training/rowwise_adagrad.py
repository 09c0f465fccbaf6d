"""Row-wise Adagrad, for tables of which a step uses few rows (Duchi et al., 2011; by rows: Mudigere et al., 2021).

Each row's step is divided by the square root of the sum of its squared gradients, so that rare rows still learn fast
when frequent ones have settled. The state is one number per row, and rows without a gradient cost nothing.
"""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from tinygpt.model import ops


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
                ops.rowwise_adagrad_step(table, table.grad, state["sum"], group["lr"])
