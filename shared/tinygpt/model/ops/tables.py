"""The table of n-grams, of which a step uses few rows: to look rows up and add them, and to update them."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from tinygpt.compiled.jit import OBSTACLE, can_compile
from tinygpt.model.ngram_hashes import ngram_hashes
from tinygpt.model.ops.arrays import array_of, has_kernels

if not OBSTACLE:
    from tinygpt.model import table_kernels as kernels


# -- the embedding


def ngram_embedding(
    ids: Tensor,
    recent: Tensor | None,
    sizes: tuple[int, ...],
    known: Tensor,
    places: Tensor,
    table: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    """The sum of the embeddings of the known n-grams that end at each position of ids (B, T): (B, T, C) in `dtype`.

    sizes are ascending. known (rows,) has the n-grams' hashes, ascending; each one's place there is its row in the
    `table` (rows, C), and `places` is their `hash_table`. recent (B, longest n-gram - 1), if given, holds the ids
    before these, and is updated. The table's gradient is sparse.
    """
    if recent is None and table.dtype == torch.float32 and has_kernels(dtype, table.device, table.size(1)):
        return compiled_ngram_embedding(ids, sizes, known, places, table, dtype)
    return reference_ngram_embedding(ids, recent, sizes, known, table).to(dtype)


def reference_ngram_embedding(
    ids: Tensor, recent: Tensor | None, sizes: tuple[int, ...], known: Tensor, table: Tensor
) -> Tensor:
    """`ngram_embedding` in torch, in the table's format."""
    context = max(sizes) - 1
    padded = F.pad(ids, (context, 0)) if recent is None else torch.cat((recent, ids), dim=1)
    if recent is not None:
        recent.copy_(padded[:, padded.size(1) - context :])
    hashes = torch.stack(list(ngram_hashes(padded, sizes)), dim=-1)  # (B, T, sizes)
    rows = torch.searchsorted(known, hashes).clamp(max=len(known) - 1)
    found = known[rows] == hashes
    number = found.sum(dim=-1).flatten()  # (B * T,): how many known n-grams end at each position
    sums = F.embedding_bag(rows[found], table, number.cumsum(0) - number, mode="sum", sparse=True)  # (B * T, C)
    return sums.view(*ids.shape, -1)


def compiled_ngram_embedding(
    ids: Tensor, sizes: tuple[int, ...], known: Tensor, places: Tensor, table: Tensor, dtype: torch.dtype
) -> Tensor:
    """`ngram_embedding` of an fp32 table. C is a multiple of 16. In the table's gradient every row occurs once."""
    rows = torch.empty(ids.numel() * len(sizes), dtype=torch.int64)
    starts = torch.empty(ids.numel() + 1, dtype=torch.int64)
    count = kernels.find_ngrams(
        ids.contiguous().numpy(), np.array(sizes), places.numpy(), known.numpy(), rows.numpy(), starts.numpy()
    )
    return sum_of_rows(table, rows[:count], starts, dtype).view(*ids.shape, -1)


def sum_of_rows(table: Tensor, rows: Tensor, starts: Tensor, dtype: torch.dtype) -> Tensor:
    """The sums (N, C), in `dtype`, of the rows of an fp32 table that `rows` names from starts[n] to starts[n + 1]: a
    compiled `F.embedding_bag`. C is a multiple of 16. In the table's gradient every row occurs once."""
    y: Tensor = _SumOfRows.apply(table, rows, starts, dtype)  # type: ignore[no-untyped-call]
    return y


class _SumOfRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, starts: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(rows, starts)
        ctx.shape = table.shape
        y = torch.empty(len(starts) - 1, table.size(1), dtype=dtype)
        kernels.sum_of_rows(table.detach().numpy(), rows.numpy(), starts.numpy(), array_of(y))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, starts = ctx.saved_tensors
        unique, sums = _sum_by_row(array_of(gradients[0]), rows, starts, ctx.shape)
        return torch.sparse_coo_tensor(unique[None], sums, ctx.shape, check_invariants=False), None, None, None


def _sum_by_row(values: NDArray[Any], rows: Tensor, starts: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """The distinct `rows` (U,) of a table of this shape, and for each the sum of its `values`, fp32 (U, C). See
    `table_kernels.sum_by_row`."""
    room = min(len(rows), shape[0])
    unique, sums = torch.empty(room, dtype=torch.int64), torch.empty(room, shape[1])
    place = np.full(shape[0], -1, np.int32)
    count = kernels.sum_by_row(values, rows.numpy(), starts.numpy(), place, unique.numpy(), sums.numpy())
    return unique[:count], sums[:count]


# -- the optimiser's step


def rowwise_adagrad_step(table: Tensor, gradient: Tensor, squares: Tensor, learning_rate: float) -> None:
    """A step of row-wise Adagrad (Duchi et al., 2011; Mudigere et al., 2021) on an fp32 table (rows, C).

    The gradient is sparse; `squares` (rows,) sums up each row's mean squared gradient. Both are updated in place.
    """
    if table.device.type == "cpu" and table.size(1) % 16 == 0 and can_compile():
        compiled_adagrad_step(table, gradient, squares, learning_rate)
    else:
        reference_adagrad_step(table, gradient, squares, learning_rate)


def reference_adagrad_step(table: Tensor, gradient: Tensor, squares: Tensor, learning_rate: float) -> None:
    """`rowwise_adagrad_step` in torch."""
    gradient = gradient.coalesce()
    rows, values = gradient.indices()[0], gradient.values()
    squares.index_add_(0, rows, values.square().mean(dim=1))
    length = squares[rows].sqrt().unsqueeze(1) + 1e-12
    table.index_add_(0, rows, values / length, alpha=-learning_rate)


def compiled_adagrad_step(table: Tensor, gradient: Tensor, squares: Tensor, learning_rate: float) -> None:
    """`rowwise_adagrad_step`. C is a multiple of 16."""
    rows, values = gradient._indices()[0], gradient._values()
    rows, values = _sum_by_row(values.contiguous().numpy(), rows, torch.arange(len(rows) + 1), table.shape)
    kernels.adagrad_rows(
        rows.numpy(), values.numpy(), squares.numpy(), table.detach().numpy(), np.float32(learning_rate)
    )
