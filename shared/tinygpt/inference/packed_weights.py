"""A model's weights in the layout that the compiled kernels read: in the order of use, in few long arrays.

Every width is rounded up and filled with zeros, so that no loop has a remainder: C, 4 C and V to a multiple of 64, half
the width of a head to one of 16. Layers are stacked along the first dimension.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tinygpt.compiled.byte_products import BYTES_A_SUM
from tinygpt.compiled.lanes import LANES, WIDE
from tinygpt.compiled.ngrams import hash_table
from tinygpt.contracts.models import WeightFormat
from tinygpt.model.transformer import TinyGPT

Floats = NDArray[np.float32]
ZERO_POINT = 128
"""The byte that stands for 0 in bytes without a sign."""


class Linear(NamedTuple):
    """L linear layers of one kind."""

    weight: Any
    """(L, outputs / 64, inputs, 64): a product reads the weights of 64 outputs in memory order."""
    bias: Floats
    """(L, outputs)"""


class QuantisedLinear(NamedTuple):
    """L linear layers in int8 (as in "LLM.int8()": Dettmers et al., 2022, without its outliers). The kernels quantise
    the inputs as well, each row with a scale of its own."""

    weight: NDArray[np.uint8]
    """(L, outputs / 64, inputs / 4, 64, 4): four inputs are adjacent, and their products are summed at once. Signed
    bytes, stored `ZERO_POINT` too high because processors want one side of a product unsigned."""
    bias: Floats
    """(L, outputs)"""
    scale: Floats
    """(L, outputs): what a weight is multiplied by."""


class Norm(NamedTuple):
    """Layer norms of one kind: gain and bias, each (L, C)."""

    gain: Floats
    bias: Floats


class Weights(NamedTuple):
    """A whole model. A part that the model does not have is an empty array."""

    width: int
    """C, not rounded up."""
    normed_head_width: int
    """D, not rounded up, if queries and keys are normalised, else 0."""
    token_embedding: Floats
    """(V, C)"""
    position_embedding: Floats
    """(context, C)"""
    ngram_sizes: NDArray[np.int64]
    """In ascending order."""
    ngram_hashes: NDArray[np.int64]
    """(known n-grams,)"""
    ngram_places: NDArray[np.int32]
    """(a power of two,): rows of `ngram_hashes`, or -1; a hash table (`hash_table`)."""
    ngram_table: Floats
    """(known n-grams, C)"""
    rotary_cosine: Floats
    """(context, D / 2)"""
    rotary_sine: Floats
    """(context, D / 2)"""
    attention_norm: Norm
    query_key_value: Linear | QuantisedLinear
    """3 H D outputs: queries head by head, then keys, then values."""
    projected_convolution: Floats
    """(L, taps, 3 H D)"""
    head_gain: Floats
    """(L, 2 H, D): the factors of queries, which are the scores' scale, then those of keys, which are 1."""
    attention_output: Linear | QuantisedLinear
    mlp_norm: Norm
    """This and what follows: of the layers that have an MLP, which are the last ones."""
    normed_convolution: Floats
    """(MLPs, taps, C)"""
    expand: Linear | QuantisedLinear
    contract: Linear | QuantisedLinear
    final_norm: Norm
    head: Linear | QuantisedLinear


@torch.inference_mode()
def pack(model: TinyGPT, format: WeightFormat) -> Weights:
    """Copy the weights of a transformer. Raises `ValueError` for another architecture."""
    config = model.config
    if config.architecture != "transformer":
        raise ValueError(f"the compiled decoder has no kernels for the architecture {config.architecture}")
    blocks: list[Any] = list(model.blocks)
    with_mlp = [block for block in blocks if block.mlp is not None]
    attentions = [block.attention for block in blocks]
    heads, head_width = config.heads, config.head_width
    rotary = config.positions == "rotary"
    none = np.zeros((0, 0), np.float32)
    ngrams = model.ngram_embedding
    hashes = ngrams.hashes.cpu().numpy() if ngrams else np.zeros(0, np.int64)

    def by_head(x: Tensor, dim: int) -> Tensor:
        """Round up the two halves of every head along `dim`."""
        heads = _pad(_split(x, dim, head_width), 2, dim + 1)
        halves = _split(heads, dim + 1, heads.size(dim + 1) // 2)
        return _pad(halves, LANES, dim + 2).flatten(dim, dim + 2)

    def head_gain(attention: Any) -> Floats:
        scale = attention.scale()
        gain = torch.cat((scale, torch.ones_like(scale))).expand(2 * heads, 1, head_width)
        return _array(by_head(gain.reshape(2 * heads, head_width), 1))

    def convolutions(weights: Sequence[Tensor]) -> Floats:
        return np.ascontiguousarray(torch.stack(list(weights)).numpy()) if weights else np.zeros((0, 0, 0), np.float32)

    query_key_value = [
        (by_head(a.query_key_value.weight, 0), by_head(a.query_key_value.bias, 0)) for a in attentions
    ]  # fmt: skip
    attention_output = [(by_head(a.output.weight, 1), a.output.bias) for a in attentions]
    return Weights(
        width=config.width,
        normed_head_width=head_width if config.qk_norm else 0,
        token_embedding=_array(_pad(model.token_embedding.weight, WIDE, 1)),
        position_embedding=_array(_pad(model.position_embedding.weight, WIDE, 1)) if not rotary else none,
        ngram_sizes=np.array(sorted(set(config.ngrams)), np.int64),
        ngram_hashes=hashes,
        ngram_places=hash_table(hashes),
        ngram_table=_array(_pad(ngrams.table.weight[: len(hashes)], WIDE, 1)) if ngrams else none,
        rotary_cosine=_array(_pad(attentions[0].cosine[:, : head_width // 2], LANES, 1)) if rotary else none,
        rotary_sine=_array(_pad(attentions[0].sine[:, head_width // 2 :], LANES, 1)) if rotary else none,
        attention_norm=_norm([block.attention_norm for block in blocks]),
        query_key_value=_linear(query_key_value, format),
        projected_convolution=convolutions([by_head(a.convolution.weight, 1) for a in attentions if a.convolution]),
        head_gain=np.stack([head_gain(attention) for attention in attentions]),
        attention_output=_linear(attention_output, format),
        mlp_norm=_norm([block.mlp_norm for block in with_mlp]),
        normed_convolution=convolutions([_pad(b.convolution.weight, WIDE, 1) for b in with_mlp if b.convolution]),
        expand=_linear([(block.mlp.expand.weight, block.mlp.expand.bias) for block in with_mlp], format),
        contract=_linear([(block.mlp.output.weight, block.mlp.output.bias) for block in with_mlp], format),
        final_norm=_norm([model.final_norm]),
        head=_linear([(model.head.weight, None)], format),
    )


def _linear(layers: Sequence[tuple[Tensor, Tensor | None]], format: WeightFormat) -> Linear | QuantisedLinear:
    """Pack layers, each a weight (outputs, inputs) and a bias (outputs,), with the weights in `format`."""
    weight = _pad(torch.stack([weight.float() for weight, _ in layers]), WIDE, 1)
    biases = [_array(_pad(bias, WIDE, 0)) if bias is not None else np.zeros(weight.size(1), np.float32)
              for _, bias in layers]  # fmt: skip
    if format == "int8":
        return _quantised_linear(_pad(weight, 2 * BYTES_A_SUM, 2), np.stack(biases))
    stored = weight.bfloat16().view(torch.uint16) if format == "bfloat16" else weight
    return Linear(_contiguous(_split(stored, 1, WIDE).transpose(2, 3)), np.stack(biases))


def _quantised_linear(weight: Tensor, bias: Floats) -> QuantisedLinear:
    """Quantise weights (L, outputs, inputs), each output with a scale of its own."""
    scale = weight.abs().amax(dim=2).clamp(min=1e-12) / 127
    rounded = (weight / scale.unsqueeze(2)).round() + ZERO_POINT
    by_four = _split(_split(rounded.to(torch.uint8), 2, BYTES_A_SUM), 1, WIDE)  # (L, outputs / 64, 64, inputs / 4, 4)
    return QuantisedLinear(_contiguous(by_four.transpose(2, 3)), bias, _array(scale))


def _norm(norms: Sequence[nn.LayerNorm]) -> Norm:
    gains, biases = ([_array(_pad(vector, WIDE, 0)) for vector in vectors] for vectors in (
        [norm.weight for norm in norms], [norm.bias for norm in norms]
    ))  # fmt: skip
    return Norm(np.stack(gains), np.stack(biases))


def _split(x: Tensor, dim: int, width: int) -> Tensor:
    """Split the dimension `dim` in two, the second of which has this width."""
    return x.reshape(*x.shape[:dim], x.size(dim) // width, width, *x.shape[dim + 1 :])


def _pad(x: Tensor, multiple: int, dim: int) -> Tensor:
    """Append zeros to x along `dim`, up to a multiple."""
    missing = -x.size(dim) % multiple
    if not missing:
        return x
    shape = list(x.shape)
    shape[dim] = missing
    return torch.cat((x, x.new_zeros(shape)), dim=dim)


def _array(x: Tensor) -> Floats:
    array: Floats = _contiguous(x.detach().float())
    return array


def _contiguous(x: Tensor) -> Any:
    return np.ascontiguousarray(x.cpu().numpy())
