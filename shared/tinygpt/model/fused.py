"""The kernels of `kernels.py` as functions of tensors, for bf16 and fp32 on a CPU; all but an optimiser's are
differentiable.

Each says what it equals in torch's own functions, which the model uses wherever these can't be: with a cache, on a GPU,
in numbers that are no multiples of sixteen, without numba. Shapes: B batch, T time, C width, H heads,
D = C / H.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from tinygpt.compiled.jit import OBSTACLE, can_compile

if not OBSTACLE:
    from tinygpt.model import kernels

_FORMATS: dict[torch.dtype, type[np.generic]] = {torch.bfloat16: np.uint16, torch.float32: np.float32}
"""What a model may compute in, and what an array of such numbers has for the kernels."""


def can_fuse(dtype: torch.dtype, device: torch.device, width: int, multiple: int = 16) -> bool:
    """Whether the functions of this module take tensors of `dtype` on `device`, and numbers `width` at a time.

    Not in inference mode: a server that shows what a model does once should not compile kernels for it.
    """
    if torch.is_inference_mode_enabled():
        return False
    return dtype in _FORMATS and device.type == "cpu" and width % multiple == 0 and can_compile()


def warm(dtype: torch.dtype, device: torch.device, poll: Callable[[], object]) -> None:
    """Have every kernel ready, if a model that computes so may use one; see `kernels.warm`."""
    if can_fuse(dtype, device, 0):
        kernels.warm(_FORMATS[dtype], poll)


def warm_all(poll: Callable[[], object]) -> None:
    """Have every kernel ready that a model on this processor may use."""
    for dtype in _FORMATS:
        warm(dtype, torch.device("cpu"), poll)


def _numbers(tensor: Tensor) -> NDArray[Any]:
    """The tensor's memory, as `kernels.py` takes it: a contiguous tensor's own."""
    own = tensor.detach().contiguous()
    array: NDArray[Any] = (own.view(torch.uint16) if own.dtype == torch.bfloat16 else own).numpy()
    return array


def _fp32(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().float().contiguous().numpy()
    return array


def _like(number: NDArray[np.float32], tensor: Tensor) -> Tensor:
    return torch.from_numpy(number).to(tensor.dtype).view_as(tensor)


class _NormConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, offset: Tensor, taps: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, gain, offset, taps)
        y = torch.empty_like(x)
        kernels.norm_convolution(_numbers(x), _fp32(gain), _fp32(offset), _fp32(taps), _numbers(y))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, gain, offset, taps = ctx.saved_tensors
        dx = torch.empty_like(x)
        d_gain, d_offset, d_taps = (np.zeros(tensor.shape, np.float32) for tensor in (gain, offset, taps))
        kernels.norm_convolution_backward(
            _numbers(gradients[0]),
            _numbers(x),
            _fp32(gain),
            _fp32(offset),
            _fp32(taps),
            _numbers(dx),
            d_gain,
            d_offset,
            d_taps,
        )
        return dx, _like(d_gain, gain), _like(d_offset, offset), _like(d_taps, taps)


def norm_convolution(x: Tensor, gain: Tensor, offset: Tensor, taps: Tensor) -> Tensor:
    """Layer norm and then a `ShortConvolution`, (B, T, C) to (B, T, C). `taps` (K, C) may be none: (0, C)."""
    y: Tensor = _NormConvolution.apply(x, gain, offset, taps)  # type: ignore[no-untyped-call]
    return y


class _Heads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, taps: Tensor, scale: Tensor, cosine: Tensor, sine: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        projected = projected.contiguous()
        ctx.save_for_backward(projected, taps, scale, cosine, sine)
        batch, time, channels = projected.shape
        number = scale.numel()
        q, k, v = torch.empty(3, batch, number, time, channels // (3 * number), dtype=projected.dtype)
        kernels.heads(
            _numbers(projected),
            _fp32(taps),
            _fp32(cosine),
            _fp32(sine),
            _fp32(scale).reshape(-1),
            _numbers(q),
            _numbers(k),
            _numbers(v),
        )
        return q, k, v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        projected, taps, scale, cosine, sine = ctx.saved_tensors
        d_projected = torch.empty_like(projected)
        d_taps, d_scale = np.zeros(taps.shape, np.float32), np.zeros(scale.numel(), np.float32)
        dq, dk, dv = (_numbers(gradient) for gradient in gradients)
        kernels.heads_backward(
            dq, dk, dv,
            _numbers(projected), _fp32(taps), _fp32(cosine), _fp32(sine), _fp32(scale).reshape(-1),
            _numbers(d_projected), d_taps, d_scale,
        )  # fmt: skip
        return d_projected, _like(d_taps, taps), _like(d_scale, scale), None, None


def heads(
    projected: Tensor, taps: Tensor, scale: Tensor, cosine: Tensor, sine: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """From the projection (B, T, 3 C) to queries, keys and values (B, H, T, D): `ShortConvolution`; of queries and keys
    the layer norm of every head, and `rotate`; queries times `scale` (H, 1, 1). `cosine` and `sine` are (T, D)."""
    q, k, v = _Heads.apply(projected, taps, scale, cosine, sine)  # type: ignore[no-untyped-call]
    return q, k, v


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights = q @ k.mT
        kernels.causal_softmax(_numbers(weights.flatten(0, 1)))
        ctx.save_for_backward(q, k, v, weights)
        return weights @ v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        q, k, v, weights = ctx.saved_tensors
        dy = gradients[0].contiguous()
        d_scores = dy @ v.mT
        kernels.causal_softmax_backward(_numbers(weights.flatten(0, 1)), _numbers(d_scores.flatten(0, 1)))
        return d_scores @ k, d_scores.mT @ q, weights.mT @ dy


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`plain_attention` under a causal mask of q, k and v (B, H, T, D), T a multiple of 16."""
    y: Tensor = _CausalAttention.apply(q, k, v)  # type: ignore[no-untyped-call]
    return y


def find_ngrams(ids: Tensor, sizes: tuple[int, ...], places: Tensor, hashes: Tensor) -> tuple[Tensor, Tensor]:
    """The known n-grams, by their rows in the table, that end at each position of ids (B, T), and where each position's
    start, (B * T + 1,): what `sum_of_rows` takes. See `NgramEmbedding`."""
    rows, starts = (
        torch.empty(ids.numel() * len(sizes), dtype=torch.int64),
        torch.empty(ids.numel() + 1, dtype=torch.int64),
    )
    count = kernels.find_ngrams(
        ids.contiguous().numpy(), np.array(sizes), places.numpy(), hashes.numpy(), rows.numpy(), starts.numpy()
    )
    return rows[:count], starts


class _SumOfRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, starts: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(rows, starts)
        ctx.shape = table.shape
        y = torch.empty(len(starts) - 1, table.size(1), dtype=dtype)
        kernels.sum_of_rows(table.detach().numpy(), rows.numpy(), starts.numpy(), _numbers(y))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, starts = ctx.saved_tensors
        unique, sums = sum_by_row(_numbers(gradients[0]), rows, starts, ctx.shape)
        return torch.sparse_coo_tensor(unique[None], sums, ctx.shape, check_invariants=False), None, None, None


def sum_of_rows(table: Tensor, rows: Tensor, starts: Tensor, dtype: torch.dtype) -> Tensor:
    """`F.embedding_bag` in `dtype`: of an fp32 table, the sums (N, C) of the rows that `rows` names from starts[n] to
    starts[n + 1]. The table's gradient is sparse, with every row once."""
    y: Tensor = _SumOfRows.apply(table, rows, starts, dtype)  # type: ignore[no-untyped-call]
    return y


def sum_by_row(values: NDArray[Any], rows: Tensor, starts: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """The different ones of a table's `rows`, (U,), and of each the sum of its `values`, fp32 (U, C); see
    `kernels.sum_by_row`. The table has `shape`."""
    most = min(len(rows), shape[0])
    unique, sums = torch.empty(most, dtype=torch.int64), torch.empty(most, shape[1])
    place = np.full(shape[0], -1, np.int32)
    count = kernels.sum_by_row(values, rows.numpy(), starts.numpy(), place, unique.numpy(), sums.numpy())
    return unique[:count], sums[:count]


def can_step(table: Tensor) -> bool:
    """Whether `sum_by_row` and `adagrad_rows` take this fp32 table."""
    return table.device.type == "cpu" and table.size(1) % 16 == 0 and can_compile()


def adagrad_rows(rows: Tensor, gradient: Tensor, squares: Tensor, table: Tensor, learning_rate: float) -> None:
    """A step of row-wise Adagrad (Duchi et al., 2011; Mudigere et al., 2021) on different rows (N,) of an fp32 table,
    with their gradient (N, C); `squares` has a number for every row of the table."""
    kernels.adagrad_rows(
        rows.numpy(), gradient.numpy(), squares.numpy(), table.detach().numpy(), np.float32(learning_rate)
    )
