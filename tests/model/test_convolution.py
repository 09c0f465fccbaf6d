"""The short causal convolution: its formula, its gradient, and reading in pieces."""

import pytest
import torch
from torch import Tensor

from tinygpt.model.convolution import ShortConvolution


def convolution(taps: int = 3, channels: int = 4) -> ShortConvolution:
    torch.manual_seed(0)
    layer = ShortConvolution(taps, channels)
    torch.nn.init.normal_(layer.weight)
    return layer


def by_the_formula(layer: ShortConvolution, x: Tensor) -> Tensor:
    y = x.clone()
    for time in range(x.size(1)):
        for i in range(layer.weight.size(0)):
            if time - 1 - i >= 0:
                y[:, time] = y[:, time] + layer.weight[i] * x[:, time - 1 - i]
    return y


@pytest.mark.parametrize("time", [1, 2, 3, 9])
def test_each_position_takes_the_weighted_ones_before_it(time: int) -> None:
    layer, x = convolution(), torch.randn(2, time, 4)

    torch.testing.assert_close(layer(x), by_the_formula(layer, x))


def test_the_written_out_gradients_are_those_of_the_formula() -> None:
    layer = convolution()
    gradients: list[tuple[Tensor | None, Tensor]] = []
    for function in (layer, lambda x: by_the_formula(layer, x)):
        x = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
        layer.weight.grad = None
        function(x).square().sum().backward()
        assert layer.weight.grad is not None
        gradients.append((x.grad, layer.weight.grad))

    torch.testing.assert_close(gradients[0], gradients[1])


def test_an_untrained_convolution_lets_everything_pass() -> None:
    x = torch.randn(1, 5, 4)

    assert torch.equal(ShortConvolution(3, 4)(x), x)


@pytest.mark.parametrize("pieces", [[8], [1] * 8, [5, 3], [1, 6, 1]], ids=str)
def test_reading_in_pieces_is_reading_at_once(pieces: list[int]) -> None:
    layer, x, recent = convolution(), torch.randn(2, 8, 4), torch.zeros(2, 3, 4)

    y = torch.cat([layer(piece, recent) for piece in torch.split(x, pieces, dim=1)], dim=1)

    torch.testing.assert_close(y, layer(x))
