"""The number format a model computes in: bf16 if the processor has instructions for it, else fp32."""

import torch

from tinygpt.model.ngrams import NgramEmbedding
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.config import Precision


def to_precision(model: TinyGPT, precision: Precision) -> TinyGPT:
    """The same model, its weights in the format it computes in. The optimiser keeps fp32 originals of them.

    A table of n-grams stays in fp32. A step changes few of its rows, and rounding all of them again would cost more
    than the rest of the step.
    """
    if precision == "fp32" or (precision == "auto" and not computes_in_bf16(model.device)):
        return model
    tables = {id(module.table.weight) for module in model.modules() if isinstance(module, NgramEmbedding)}
    for parameter in model.parameters():
        if id(parameter) not in tables:
            parameter.data = parameter.data.bfloat16()
    return model


def computes_in_bf16(device: torch.device) -> bool:
    """Whether `device` has instructions for bf16. Without them, products in bf16 are slower than in fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())
