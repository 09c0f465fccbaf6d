"""Functions of sixteen numbers at once (`lanes.py`) that no processor has an instruction for."""

from typing import Any

from tinygpt.compiled.jit import part
from tinygpt.compiled.lanes import absolute, at_least, copy_sign, nearest_integer, power_of_two, splat

_LOG2_E = 1.4426950408889634
_LN_2_HIGH = 0.693359375
_LN_2_LOW = -2.12194440e-4


@part
def erf(x: Any) -> Any:
    """The error function, to 2e-7 (Abramowitz & Stegun, 7.1.26)."""
    size = absolute(x)
    t = 1.0 / (size * 0.3275911 + 1.0)
    series = t * 1.061405429 + -1.453152027
    series = series * t + 1.421413741
    series = series * t + -0.284496736
    series = series * t + 0.254829592
    return copy_sign(1.0 - series * t * exp(0.0 - size * size), x)


@part
def exp(x: Any) -> Any:
    """e to the power of x, to a bit or two; at least e ** -87, and NaN for NaN. x = n ln 2 + r, and e ** r by its
    Taylor series."""
    x = at_least(x, splat(-87.0))
    n = nearest_integer(x * _LOG2_E)
    r = x - n * _LN_2_HIGH - n * _LN_2_LOW
    series = r * (1 / 5040) + 1 / 720
    series = series * r + 1 / 120
    series = series * r + 1 / 24
    series = series * r + 1 / 6
    series = series * r + 1 / 2
    return (series * r * r + r + 1.0) * power_of_two(n)
