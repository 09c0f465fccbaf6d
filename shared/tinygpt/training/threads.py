"""The threads of a training step: each computes the gradient of some of the rows, from their tokens to the last weight.

Torch would divide every single operation among its threads. In a network this small an operation takes less time than
the threads need to meet, so two are hardly faster than one. With rows of their own they meet twice in a step.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

Item = TypeVar("Item")
Result = TypeVar("Result")


class Threads:
    """Threads that take tasks. Torch's operations in a task run on its thread alone. One means the calling thread."""

    def __init__(self, pool: ThreadPoolExecutor | None = None, number: int = 1) -> None:
        self._pool = pool
        self.number = number

    def map(self, task: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """The results in the order of `items`. Raises the first error, after all tasks have ended."""
        if self._pool is None:
            return [task(item) for item in items]
        futures = [self._pool.submit(task, item) for item in items]
        errors = [error for future in futures if (error := future.exception())]
        if errors:
            raise errors[0]
        return [future.result() for future in futures]


ONE_THREAD = Threads()


@contextmanager
def threads(number: int) -> Iterator[Threads]:
    """`number` threads. Within the block, torch's operations in the calling thread run on it alone too."""
    if number == 1:
        yield ONE_THREAD
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(number, "training", initializer=lambda: torch.set_num_threads(1)) as pool:
            yield Threads(pool, number)
    finally:
        torch.set_num_threads(before)


def gradient_of(loss: Tensor, weights: Sequence[nn.Parameter]) -> list[Tensor]:
    """What `loss.backward()` would add to `weights`. Returned instead, because threads share the weights."""
    return list(torch.autograd.grad(loss, weights))


def set_gradients(weights: Sequence[nn.Parameter], parts: Sequence[Sequence[Tensor]]) -> None:
    """Set every weight's gradient to the sum of its gradients in `parts`, added in their order.

    Sparse gradients are concatenated.
    """
    for weight, gradients in zip(weights, zip(*parts, strict=True), strict=True):
        total = gradients[0]
        for gradient in gradients[1:]:
            total = total + gradient if total.is_sparse else total.add_(gradient)
        weight.grad = total
