"""Tensors as the arrays that kernels work on, and which tensors kernels take."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinygpt.compiled.jit import can_compile

FORMATS: dict[torch.dtype, type[np.generic]] = {torch.bfloat16: np.uint16, torch.float32: np.float32}
"""The formats that kernels compute in, and what their arrays hold. numpy has no bf16, so its bits are a uint16."""


def has_kernels(dtype: torch.dtype, device: torch.device, width: int, multiple: int = 16) -> bool:
    """Whether kernels take tensors of `dtype` on `device` whose rows have `width` numbers.

    Not in inference mode: a server that runs the model once, to explain it, should not wait for a compilation.
    """
    if torch.is_inference_mode_enabled():
        return False
    return dtype in FORMATS and device.type == "cpu" and width % multiple == 0 and can_compile()


def array_of(tensor: Tensor) -> NDArray[Any]:
    """The memory of a contiguous tensor, or of a contiguous copy, in its own format (see `FORMATS`)."""
    own = tensor.detach().contiguous()
    array: NDArray[Any] = (own.view(torch.uint16) if own.dtype == torch.bfloat16 else own).numpy()
    return array


def fp32_array_of(tensor: Tensor) -> NDArray[np.float32]:
    """The numbers of a tensor in fp32."""
    array: NDArray[np.float32] = tensor.detach().float().contiguous().numpy()
    return array


def tensor_like(tensor: Tensor, numbers: NDArray[np.float32]) -> Tensor:
    """`numbers` with the shape and the format of `tensor`."""
    return torch.from_numpy(numbers).to(tensor.dtype).view_as(tensor)
