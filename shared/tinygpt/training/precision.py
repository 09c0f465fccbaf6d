"""The number format of a step: bf16 where the processor computes in it, else fp32."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from tinygpt.training.config import Precision

Autocast = Callable[[], AbstractContextManager[object]]


def autocast(precision: Precision, device: torch.device) -> Autocast:
    """What to open around the forward pass."""
    if precision == "bf16" or (precision == "auto" and _computes_in_bf16(device)):
        return lambda: torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext


def _computes_in_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())
