"""Operations: compiled and reference agree, in results and gradients, up to rounding."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.known_ngrams import know_ngrams, ngrams_of
from tinygpt.model import table_kernels, training_kernels
from tinygpt.model.config import SIZES
from tinygpt.model.convolution import ShortConvolution
from tinygpt.model.ngrams import NgramEmbedding
from tinygpt.model.ops import attention, convolution, tables
from tinygpt.model.ops.arrays import has_kernels
from tinygpt.model.positions import rotary_table
from tinygpt.model.transformer import TinyGPT
from tinygpt.training.config import Precision
from tinygpt.training.precision import to_precision

TIMES = [1, 2, 3, 17]
TAPS = [0, 1, 3]


def assert_same(
    compiled: Callable[..., Tensor | Sequence[Tensor]],
    reference: Callable[..., Tensor | Sequence[Tensor]],
    *inputs: Tensor,
) -> None:
    """Results and gradients of `compiled` are those of `reference` in fp32: to a hundredth of their norm in bf16, to a
    hundred-thousandth in fp32."""
    for dtype, tolerance in ((torch.bfloat16, 1e-2), (torch.float32, 1e-5)):
        given = [tensor.to(dtype).requires_grad_() for tensor in inputs]
        in_fp32 = [tensor.detach().float().requires_grad_() for tensor in given]
        results, expected = as_list(compiled(*given)), as_list(reference(*in_fp32))
        weights = [torch.randn(result.shape).to(dtype) for result in results]
        gradients = torch.autograd.grad(results, given, weights)
        of_reference = torch.autograd.grad(
            expected, in_fp32, [weight.float() for weight in weights], materialize_grads=True
        )
        for ours, theirs in zip([*results, *gradients], [*expected, *of_reference], strict=True):
            assert ours.dtype == dtype
            assert (ours.float() - theirs).norm() <= tolerance * theirs.norm() + 1e-6


def as_list(results: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [results] if isinstance(results, Tensor) else list(results)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("taps", TAPS)
def test_layer_norm_and_convolution(time: int, taps: int) -> None:
    torch.manual_seed(0)
    x = 3 * torch.randn(5, time, 48) + 1
    assert_same(
        convolution.compiled_norm_convolution,
        convolution.reference_norm_convolution,
        *(x, torch.randn(48), torch.randn(48), torch.randn(taps, 48)),
    )


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("taps", TAPS)
def test_heads(time: int, taps: int) -> None:
    torch.manual_seed(0)
    number, width = 3, 32
    cosine, sine = (table[:time] for table in rotary_table(32, width))

    def compiled(projected: Tensor, scale: Tensor, weights: Tensor) -> Sequence[Tensor]:
        return attention.compiled_heads(projected, scale, weights, (cosine, sine))

    def reference(projected: Tensor, scale: Tensor, weights: Tensor) -> Sequence[Tensor]:
        return attention.reference_heads(projected, scale, weights, normalise=True, angles=(cosine, sine))

    inputs = torch.randn(5, time, 288), 0.5 + torch.rand(number, 1, 1), torch.randn(taps, 288)
    assert_same(compiled, reference, *inputs)


@pytest.mark.parametrize("time", [16, 48])
def test_causal_attention(time: int) -> None:
    torch.manual_seed(0)
    mask = torch.tril(torch.ones(time, time, dtype=torch.bool))

    def reference(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention.reference_attention(q, k, v, mask)

    q, k, v = (torch.randn(3, 2, time, 8) for _ in range(3))
    assert_same(attention.compiled_attention, reference, 0.3 * q, k, v)


def test_with_large_scores_a_position_takes_all_from_the_best_that_it_sees() -> None:
    k, v = torch.eye(16).expand(1, 1, 16, 16).bfloat16(), torch.randn(1, 1, 16, 16).bfloat16()
    best = torch.arange(16) // 2
    unseen = torch.arange(16).flip(0).clamp(min=8)
    q = 1000 * k[:, :, best] + 2000 * k[:, :, unseen] * (unseen > torch.arange(16))[:, None]
    torch.testing.assert_close(attention.compiled_attention(q, k.contiguous(), v), v[:, :, best])


def test_attention_gives_what_is_not_seen_no_weight_and_no_gradient() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 1, 32, 16).bfloat16().requires_grad_() for _ in range(3))
    y = attention.compiled_attention(q, k, v)
    for gradient in torch.autograd.grad(y[:, :, :20].sum(), (q, k, v)):
        assert gradient[:, :, :20].any()
        assert not gradient[:, :, 20:].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_sums_of_a_tables_rows_and_their_gradient_with_every_row_once(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    table, weights = torch.randn(9, 32).bfloat16().float().requires_grad_(), torch.randn(4, 32).to(dtype)
    rows, starts = torch.tensor([3, 3, 0, 8, 0, 3]), torch.tensor([0, 2, 2, 3, 6])

    y = tables.sum_of_rows(table, rows, starts, dtype)
    expected = F.embedding_bag(rows, table, starts[:-1], mode="sum")
    torch.testing.assert_close(y, expected.to(dtype))

    (gradient,) = torch.autograd.grad(y, table, weights)
    (of_bag,) = torch.autograd.grad(expected, table, weights.float())
    assert sorted(gradient._indices()[0].tolist()) == [0, 3, 8]
    torch.testing.assert_close(gradient.to_dense(), of_bag)


def test_a_tensor_and_a_gradient_need_not_be_contiguous() -> None:
    torch.manual_seed(0)
    x, gain, bias, taps = torch.randn(2, 6, 16), torch.randn(16), torch.randn(16), torch.randn(2, 16)

    def transposed(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *inputs: function(inputs[0].mT, *inputs[1:]).mT

    compiled, reference = convolution.compiled_norm_convolution, convolution.reference_norm_convolution
    assert_same(transposed(compiled), transposed(reference), x.mT.contiguous(), gain, bias, taps)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.05), ("fp32", 1e-5)])
def test_a_model_computes_the_same_with_kernels_and_without(
    monkeypatch: pytest.MonkeyPatch, precision: Precision, tolerance: float
) -> None:
    torch.manual_seed(0)
    model = know_ngrams(TinyGPT(replace(SIZES["tiny"], width=64, ngram_rows=6000)))
    for module in model.modules():
        if isinstance(module, ShortConvolution):
            torch.nn.init.normal_(module.weight, std=0.3)
    to_precision(model, precision)
    ids = torch.randint(model.config.vocab_size, (3, 32))
    weights = torch.randn(3, 32, 64).to(model.head.weight.dtype)
    used = set()

    def module_of(name: str) -> ModuleType:
        return training_kernels if hasattr(training_kernels, name) else table_kernels

    def watched(name: str) -> Callable[..., object]:
        kernel = getattr(module_of(name), name)

        def call(*arguments: object) -> object:
            used.add(name)
            return kernel(*arguments)

        return call

    def features_and_gradients() -> list[Tensor]:
        features = model.features(ids)
        learned = [weight for name, weight in model.named_parameters() if "future" not in name and "head" not in name]
        gradients = torch.autograd.grad((features * weights).sum(), learned, allow_unused=True)
        return [features, *(one.to_dense().float() for one in gradients if one is not None)]

    forwards = {"norm_convolution", "heads"} | ({"causal_softmax"} if precision == "bf16" else set())
    everything = {*forwards, *(f"{name}_backward" for name in forwards), "find_ngrams", "sum_of_rows", "sum_by_row"}
    for name in everything:
        monkeypatch.setattr(module_of(name), name, watched(name))
    with_kernels = features_and_gradients()
    assert used == everything
    for operations in (attention, convolution, tables):
        monkeypatch.setattr(operations, "has_kernels", lambda *_: False)
    used.clear()
    in_torch = features_and_gradients()
    assert not used
    for ours, theirs in zip(with_kernels, in_torch, strict=True):
        assert (ours - theirs).norm() <= tolerance * theirs.norm()


def test_ngrams_are_found_as_torch_finds_them_also_after_loading() -> None:
    torch.manual_seed(0)
    ids = torch.randint(5, 12, (3, 9))
    known = ngrams_of(ids[:2], (2, 3, 5))
    embedding = NgramEmbedding((5, 2, 3), len(known) + 4, 16)
    embedding.know(known)
    loaded = NgramEmbedding((5, 2, 3), len(known) + 4, 16)
    loaded.load_state_dict(embedding.state_dict())

    expected = tables.reference_ngram_embedding(ids, None, embedding.sizes, embedding.known, embedding.table.weight)
    assert expected.any(dim=-1).sum() > 20
    for one in (embedding, loaded, copy.deepcopy(loaded)):
        torch.testing.assert_close(one(ids), expected)
        assert torch.equal(one(ids, dtype=torch.bfloat16), one(ids).bfloat16())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_other_number_formats_and_widths_are_left_to_torch(dtype: torch.dtype) -> None:
    cpu = torch.device("cpu")
    assert has_kernels(dtype, cpu, 48)
    assert not has_kernels(dtype, cpu, 40)
    assert not has_kernels(dtype, cpu, 48, 32)
    assert not has_kernels(torch.float16, cpu, 48)
    with torch.inference_mode():
        assert not has_kernels(dtype, cpu, 48)


def test_a_model_of_any_width_and_any_time_learns() -> None:
    model = TinyGPT(replace(SIZES["tiny"], width=24, ngrams=(2,), ngram_rows=50)).bfloat16()
    model.features(torch.randint(model.config.vocab_size, (3, 7))).sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in model.blocks.parameters())
