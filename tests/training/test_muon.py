"""Muon: what its iteration does to a matrix, and that stacking changes nothing."""

import pytest
import torch
from torch import nn

from tinygpt.training.muon import Muon, orthogonalise

FORMATS = [torch.bfloat16, torch.float32]


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (32, 128)])
def test_singular_values_become_about_one_and_directions_stay(rows: int, columns: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(rows, columns)
    u, singular_values, v = torch.linalg.svd(matrix, full_matrices=False)

    result = orthogonalise(matrix[None], dtype)[0]

    in_old_directions = u.T @ result @ v.T
    not_too_small = singular_values > 0.012 * matrix.norm()
    assert (in_old_directions.diag() - 1)[not_too_small].abs().max() < 0.3
    assert (in_old_directions - in_old_directions.diag().diag()).abs().max() < 0.1


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("size", [1, 8, 16, 64, 192])
def test_no_singular_value_explodes_where_one_is_all_there_is(size: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    products = torch.randn(200, size, 1) @ torch.randn(200, 1, size)
    stack = torch.cat((products, torch.ones(1, size, size), torch.zeros(1, size, size)))

    assert torch.linalg.matrix_norm(orthogonalise(stack, dtype), ord=2).max() < 1.5


def stepped(parameters: list[nn.Parameter], gradients: list[torch.Tensor]) -> list[torch.Tensor]:
    optimizer = Muon(parameters, lr=0.1, momentum=0.9, weight_decay=0.0, dtype=torch.bfloat16)
    for _ in range(2):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


def test_matrices_learn_the_same_alone_and_side_by_side() -> None:
    torch.manual_seed(0)
    shapes = [(8, 8), (8, 8), (32, 8), (8, 32)]
    gradients = [torch.randn(shape) for shape in shapes]

    together = stepped([nn.Parameter(torch.zeros(shape)) for shape in shapes], gradients)
    alone = [
        stepped([nn.Parameter(torch.zeros(shape))], [gradient])[0]
        for shape, gradient in zip(shapes, gradients, strict=True)
    ]

    torch.testing.assert_close(together, alone, atol=2e-3, rtol=0.02)


def test_queries_keys_and_values_are_three_matrices() -> None:
    torch.manual_seed(0)
    gradient = torch.randn(24, 8)

    as_one = stepped([nn.Parameter(torch.zeros(24, 8))], [gradient])[0]
    as_three = stepped([nn.Parameter(torch.zeros(8, 8)) for _ in range(3)], list(gradient.view(3, 8, 8).unbind()))

    torch.testing.assert_close(as_one, torch.cat(as_three))


def test_the_step_does_not_depend_on_the_gradients_length() -> None:
    torch.manual_seed(0)
    gradient = torch.randn(8, 8)

    small = stepped([nn.Parameter(torch.zeros(8, 8))], [gradient * 2**-10])[0]
    large = stepped([nn.Parameter(torch.zeros(8, 8))], [gradient * 2**10])[0]

    torch.testing.assert_close(small, large, atol=2e-3, rtol=0.02)
