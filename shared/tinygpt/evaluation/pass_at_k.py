"""pass@k: how likely at least one of k answers is right (Chen et al., "Evaluating Large Language Models Trained on
Code", 2021)."""

from collections.abc import Sequence
from math import comb


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """The unbiased estimate for one row of which `passed` of `samples` answers passed: 1 - C(n-c, k) / C(n, k).

    Raises `ValueError` unless 0 <= passed <= samples and 1 <= k <= samples.
    """
    if not 0 <= passed <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} can't be estimated from {passed} passed of {samples}")
    return 1.0 - comb(samples - passed, k) / comb(samples, k)


def mean_pass_at_k(passed: Sequence[int], samples: int, k: int) -> float:
    """The mean over rows of which `passed[i]` of `samples` answers passed; 0 for no rows."""
    return sum(pass_at_k(samples, count, k) for count in passed) / len(passed) if passed else 0.0


def reported_ks(samples: int) -> list[int]:
    """The ks worth telling for so many answers to a row."""
    return sorted({1, samples} | {k for k in (5, 10, 100) if k < samples})
