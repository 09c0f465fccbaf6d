"""Muon (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024).

The momentum of a matrix's gradient is replaced by the nearest matrix whose singular values are all about 1, so that
every direction of the layer learns at the same speed; with Adam a few directions dominate. Matrix products alone find
it: three polynomials bring singular values between 0.01 and 1 as close to 1 as three can ("The Polar Express": Amsel et
al., 2025), and smaller values stay smaller. Networks learn as fast as with five of Muon's own (docs/experiments.md).

Matrices of the same shape are stacked and iterated together, because small ones would spend the time in dispatch.
Queries, keys and values are three matrices, although they are stored as one.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_POLYNOMIALS = ((8.0934, -23.6204, 17.4462), (3.6366, -2.7219, 0.5365), (2.6613, -1.9772, 0.4526))
"""a, b and c of each a x + b x^3 + c x^5. Singular values of 0.01 to 1 become 0.73 to 1.27, in bf16 up to about 1.5.
Values above 1 would explode."""


def orthogonalise(stack: Tensor, dtype: torch.dtype) -> Tensor:
    """Matrices with the same singular vectors, and singular values near 1: (N, rows, columns), rows <= columns.

    Computed in `dtype`, returned in fp32.
    """
    x = stack.to(dtype)
    x = x / (1.01 * x.norm(dim=(1, 2), keepdim=True) + 1e-7)  # 1.01, because rounding must leave no value above 1
    for a, b, c in _POLYNOMIALS:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.float()


class Muon(torch.optim.Optimizer):
    """For matrices only. A matrix with rows = 3 * columns is treated as three stacked square ones.

    The iteration is computed in `dtype`.
    """

    def __init__(
        self, matrices: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float, dtype: torch.dtype
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            by_shape: defaultdict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                update = self._nesterov(parameter, group)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                for matrix, part in zip(_parts(parameter), _parts(update), strict=True):
                    by_shape[matrix.shape].append((matrix, part))
            for (rows, columns), matrices in by_shape.items():
                stack = torch.stack([part for _, part in matrices])
                if rows <= columns:
                    updates = orthogonalise(stack, self._dtype)
                else:
                    updates = orthogonalise(stack.mT, self._dtype).mT
                length = max(1.0, rows / columns) ** 0.5
                for (matrix, _), update in zip(matrices, updates, strict=True):
                    matrix.add_(update, alpha=-group["lr"] * length)

    def _nesterov(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"]
        momentum.lerp_(parameter.grad, 1 - group["momentum"])
        return parameter.grad.lerp(momentum, group["momentum"])


def _parts(matrix: Tensor) -> tuple[Tensor, ...]:
    """Views of queries, keys and values, or the whole of any other matrix."""
    rows, columns = matrix.shape
    return matrix.view(3, columns, columns).unbind() if rows == 3 * columns else (matrix,)
