"""How much of the processor's arithmetic a training step uses.

A step's floating-point operations by formula (Chowdhery et al., "PaLM", 2022, appendix B), compared with what a large
matrix product in the same format reaches on the same threads.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.training_sides import Data, ProjectLoop, Size, project_config
from tinygpt.data.examples import IGNORED
from tinygpt.data.tokenizer import PAD
from tinygpt.model.config import SIZES
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.batches import Batch, collate, split_groups
from tinygpt.training.precision import computes_in_bf16

_SIDE = 2048
_WARM_UP_PRODUCTS = 2
_PRODUCTS = 20
_FORWARD_AND_BACKWARD = 3
"""The backward pass has two products for each one of the forward pass: for the inputs and for the weights."""


@dataclass(frozen=True)
class Ceiling:
    """GFLOPS are 10^9 floating-point operations a second, a multiply-add counted as two."""

    ceiling_gflops: float
    """A product of two 2048 x 2048 matrices, median; in bf16 if the processor has it, like the step."""
    step_milliseconds: float
    """A whole optimiser step, mean: batch, gradient and update."""
    computed_gflops: float
    """A step's products at every position that is computed, padding included. The optimiser's are not counted."""
    useful_gflops: float
    """The same without padding."""

    @property
    def computed_share(self) -> float:
        return self.computed_gflops / self.ceiling_gflops

    @property
    def useful_share(self) -> float:
        return self.useful_gflops / self.ceiling_gflops


def measure_ceiling(size: Size, data: Data, context_length: int, seed: int, seconds: float) -> Ceiling:
    """The matrix product, then `seconds` of training steps."""
    ceiling = product_gflops(torch.bfloat16 if computes_in_bf16(torch.device("cpu")) else torch.float32)
    config = project_config(SIZES[size], data, context_length, seed)
    loop = ProjectLoop(config, data.tokenizer, data.training, data.validation)
    head_positions: list[int] = []
    """One number per part of a step, because every thread computes its own rows."""
    loop.model.final_norm.register_forward_hook(lambda _norm, inputs, _normed: head_positions.append(len(inputs[0])))
    spent = computed = useful = 0.0
    while spent < seconds:
        head_positions.clear()
        started = time.perf_counter()
        groups = loop.next_groups()
        loop.learn(groups, spent / seconds)
        spent += time.perf_counter() - started
        parts = [collate(part, context_length) for part in split_groups(groups, loop.threads.number)]
        step = step_flops(loop.model, parts, sum(head_positions))
        computed, useful = computed + step[0], useful + step[1]
    return Ceiling(
        ceiling_gflops=round(ceiling, 1),
        step_milliseconds=round(spent / loop.state.step * 1000, 1),
        computed_gflops=round(computed / spent / 1e9, 1),
        useful_gflops=round(useful / spent / 1e9, 1),
    )


def product_gflops(dtype: torch.dtype) -> float:
    """What a matrix product in this format reaches, in 10^9 operations a second."""
    a, b = (torch.randn(_SIDE, _SIDE).to(dtype) for _ in range(2))
    times = []
    for _ in range(_WARM_UP_PRODUCTS + _PRODUCTS):
        started = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - started)
    return 2 * _SIDE**3 / statistics.median(times[_WARM_UP_PRODUCTS:]) / 1e9


def step_flops(model: TinyGPT, parts: Sequence[Batch], head_positions: int) -> tuple[float, float]:
    """Operations of the forward and backward pass on these parts of a step: computed, and useful.

    The head was computed at `head_positions`: the labelled ones, their number rounded up.
    """
    lengths = torch.cat([(part.ids != PAD).sum(dim=1) for part in parts])
    labelled = sum(int((part.labels != IGNORED).sum()) for part in parts)
    positions = sum(part.ids.numel() for part in parts)
    pairs = sum(part.ids.numel() * part.ids.size(1) for part in parts)
    computed = forward_flops(model, positions, head_positions, pairs)
    useful = forward_flops(model, int(lengths.sum()), labelled, int(lengths.square().sum()))
    return _FORWARD_AND_BACKWARD * computed, _FORWARD_AND_BACKWARD * useful


def forward_flops(model: TinyGPT, positions: int, head_positions: int, pairs: int) -> float:
    """Operations of a forward pass: two for a parameter of a matrix and a position, and attention's two products.

    The last MLP, the head and the prediction of later tokens are computed at `head_positions` only. `pairs` is the sum
    of the rows' squared lengths: the mask hides half of the scores, but they are computed.
    """
    last_mlp = _matrix_parameters(model.blocks[-1].get_submodule("mlp"))
    everywhere = _matrix_parameters(model.blocks) - last_mlp
    heads = (1 + len(model.future)) * model.head.weight.numel()
    at_labels = last_mlp + _matrix_parameters(model.future) + heads
    attention = 4 * len(model.blocks) * model.config.width * pairs
    return 2 * (everywhere * positions + at_labels * head_positions) + attention


def _matrix_parameters(module: nn.Module) -> int:
    return sum(part.weight.numel() for part in module.modules() if isinstance(part, nn.Linear))
