"""Data parallelism: processes that torchrun started train one model together, each on its share of every batch.

Each process holds the whole model and its optimisers. After the backward pass the gradients of all shares are summed,
and every process takes the same step, so that the weights stay the same everywhere.

torch's `DistributedDataParallel` (Li et al., 2020) is not used, for three reasons. It averages over processes, while
here every label counts the same, whichever process has it. It sums in the weights' format, while here sums are fp32. It
needs the same number of backward passes in each process, while here a step may have fewer rows than processes. What it
would gain, summing while the backward pass still runs, pays off for much larger models only.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from tinygpt.contracts.errors import TrainingFailed

T = TypeVar("T")

_TIMEOUT = timedelta(hours=1)
"""Long, because the others wait while the first process prepares a large dataset or evaluates. If a process dies,
torchrun ends the others at once."""


@dataclass(frozen=True)
class World:
    """The processes of a run, seen from one of them. In a single process every method returns at once."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """The rank among the processes of this machine, which is the number of its GPU."""

    @property
    def is_first(self) -> bool:
        """The first process evaluates, saves, reports and decides; the others wait for it."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        return torch.device("cuda", self.local_rank) if torch.cuda.is_available() else torch.device("cpu")

    def share(self, groups: Sequence[Sequence[T]]) -> list[Sequence[T]]:
        """This process's rows of each group of a step: every `size`-th.

        The next group goes on with the process after the last one, so that shares have about the same number of rows
        and, because groups are ordered by length, the same lengths.
        """
        shares, dealt = [], 0
        for rows in groups:
            shares.append(rows[(self.rank - dealt) % self.size :: self.size])
            dealt += len(rows)
        return shares

    @contextlib.contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """A block that the other processes enter when the first one has left it."""
        if not self.is_first:
            self.from_first(None)
        yield
        if self.is_first:
            self.from_first(None)

    def from_first(self, value: T) -> T:
        """The first process's `value`, in every process."""
        if self.size == 1:
            return value
        values = [value]
        with _lost_process():
            dist.broadcast_object_list(values, src=0, device=self.device)
        return values[0]

    def agree(self, value: object) -> bool:
        """Whether `value` is the same in every process. Every process gets the same answer."""
        if self.size == 1:
            return True
        values: list[object] = [None] * self.size
        with _lost_process():
            dist.all_gather_object(values, value)
        return all(other == value for other in values)

    def broadcast_weights(self, model: nn.Module) -> None:
        """Give every process the first one's weights."""
        if self.size == 1:
            return
        with _lost_process():
            for weight in model.parameters():
                dist.broadcast(weight.detach(), src=0)

    def sum(self, *values: float) -> list[float]:
        """The sums over the processes, one for each value."""
        if self.size == 1:
            return list(values)
        totals = torch.tensor(values, dtype=torch.float64, device=self.device)
        with _lost_process():
            dist.all_reduce(totals)
        return [float(total) for total in totals]

    def sum_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its sum over the processes. A process without rows has none, and adds 0."""
        if self.size == 1:
            return
        tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.EmbeddingBag) and m.sparse}
        dense = [weight for weight in model.parameters() if id(weight) not in tables]
        gradients = [weight.grad if weight.grad is not None else torch.zeros_like(weight) for weight in dense]
        summed = torch.cat([gradient.flatten().float() for gradient in gradients])
        with _lost_process():
            dist.all_reduce(summed)
        for weight, gradient in zip(dense, torch.split(summed, [weight.numel() for weight in dense]), strict=True):
            weight.grad = gradient.view_as(weight).to(weight.dtype)
        for weight in model.parameters():
            if id(weight) in tables:
                weight.grad = self._sum_sparse(weight)

    def _sum_sparse(self, table: nn.Parameter) -> Tensor:
        """The sum of a table's sparse gradients, (rows, width): those of all processes, concatenated.

        Rows and values are gathered, padded to the longest, because NCCL can't sum sparse tensors.
        """
        rows, values = torch.zeros(0, dtype=torch.int64, device=table.device), table.new_zeros(0, table.size(1))
        if table.grad is not None:
            gradient = table.grad.coalesce()
            rows, values = gradient.indices()[0], gradient.values()  # (used,), (used, width)
        counts = [int(count) for count in self._gather(torch.tensor(len(rows), device=table.device))]
        padding = max(counts) - len(rows)
        all_rows = self._gather(F.pad(rows, (0, padding)))
        all_values = self._gather(F.pad(values, (0, 0, 0, padding)))
        return torch.sparse_coo_tensor(
            torch.cat([part[:count] for part, count in zip(all_rows, counts, strict=True)]).unsqueeze(0),
            torch.cat([part[:count] for part, count in zip(all_values, counts, strict=True)]),
            table.shape,
            check_invariants=False,
        )

    def _gather(self, part: Tensor) -> list[Tensor]:
        parts = [torch.empty_like(part) for _ in range(self.size)]
        with _lost_process():
            dist.all_gather(parts, part)
        return parts


ALONE = World()


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """Join the processes that torchrun started with this one, by gloo on CPU and NCCL on CUDA.

    Without torchrun: `ALONE`.
    """
    if not dist.is_torchelastic_launched():
        yield ALONE
        return
    world = World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_RANK"]))
    if world.device.type == "cuda":
        torch.cuda.set_device(world.device)
    dist.init_process_group("nccl" if world.device.type == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        yield world
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def _lost_process() -> Iterator[None]:
    """Raise `TrainingFailed` for what torch raises if another process is gone."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise TrainingFailed("Another process of this run ended; its own message says why.") from error
