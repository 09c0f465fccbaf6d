"""Differences between two checkpoints."""

from pathlib import Path
from typing import Any

import torch


def state_of(path: Path) -> dict[str, Any]:
    """The content of a checkpoint without the time it took."""
    content: dict[str, Any] = torch.load(path, weights_only=True)
    del content["training"]["elapsed_seconds"]
    return content


def differences(one: object, other: object, at: str = "") -> list[str]:
    """The paths at which two values differ; tensors in any bit."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [at]
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [found for key in one for found in differences(one[key], other[key], f"{at}/{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for i, pair in pairs for found in differences(*pair, f"{at}/{i}")]
    return [] if one == other else [at]
