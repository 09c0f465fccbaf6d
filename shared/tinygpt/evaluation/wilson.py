"""Confidence interval of a share (Wilson, "Probable Inference", 1927)."""

from math import sqrt

_Z95 = 1.959964


def wilson_interval(share: float, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share of `rows` rows. (0, 1) if there are no rows."""
    if rows == 0:
        return 0.0, 1.0
    spread = _Z95**2 / rows
    middle = (share + spread / 2) / (1 + spread)
    half = _Z95 / (1 + spread) * sqrt(share * (1 - share) / rows + spread / (4 * rows))
    return max(0.0, middle - half), min(1.0, middle + half)
