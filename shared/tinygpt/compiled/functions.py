"""Functions of `Lanes` that no processor has an instruction for."""

from typing import Any

from tinygpt.compiled.jit import part
from tinygpt.compiled.lanes import at_least, at_most, multiply_add, nearest_integer, power_of_two, splat, zero_below

_LOG2_E = 1.4426950408889634
_LN_2_HIGH = 0.693359375
_LN_2_LOW = -2.12194440e-4


@part
def erf(x: Any) -> Any:
    """The error function, to 5e-7: x P(x^2) / Q(x^2), with the polynomials of Eigen's `generic_fast_erf_float`."""
    x = at_most(at_least(x, splat(-4.0)), splat(4.0))
    square = x * x
    p = multiply_add(square, splat(-2.72614225801306e-10), splat(2.77068142495902e-08))
    p = multiply_add(square, p, splat(-2.10102402082508e-06))
    p = multiply_add(square, p, splat(-5.69250639462346e-05))
    p = multiply_add(square, p, splat(-7.34990630326855e-04))
    p = multiply_add(square, p, splat(-2.95459980854025e-03))
    p = multiply_add(square, p, splat(-1.60960333262415e-02))
    q = multiply_add(square, splat(-1.45660718464996e-05), splat(-2.13374055278905e-04))
    q = multiply_add(square, q, splat(-1.68282697438203e-03))
    q = multiply_add(square, q, splat(-7.37332916720468e-03))
    q = multiply_add(square, q, splat(-1.42647390514189e-02))
    return x * p / q


@part
def exp(x: Any) -> Any:
    """e to the power of x, exact to a bit or two; at least e ** -87, and NaN for NaN.

    x = n ln 2 + r, and e ** r is computed by its Taylor series.
    """
    x = at_least(x, splat(-87.0))
    n = nearest_integer(x * _LOG2_E)
    r = multiply_add(n, splat(-_LN_2_LOW), multiply_add(n, splat(-_LN_2_HIGH), x))
    series = multiply_add(r, splat(1 / 5040), splat(1 / 720))
    series = multiply_add(r, series, splat(1 / 120))
    series = multiply_add(r, series, splat(1 / 24))
    series = multiply_add(r, series, splat(1 / 6))
    series = multiply_add(r, series, splat(1 / 2))
    return multiply_add(r * r, series, r + 1.0) * power_of_two(n)


@part
def softmax_weight(below: Any) -> Any:
    """e to the power of `below`, a score minus the largest score; 0 if it is below -40.

    Next to the largest score's 1 that is nothing. Products of smaller numbers would be denormal, and those take a
    processor a hundred times as long.
    """
    return zero_below(-40.0, below, exp(below))
