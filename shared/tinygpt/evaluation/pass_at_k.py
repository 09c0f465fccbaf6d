"""pass@k: the probability that at least one of k answers passes (Chen et al., "Evaluating Large Language Models Trained
on Code", 2021)."""

from collections.abc import Sequence
from math import comb


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """The unbiased estimate for one row, if `passed` of its `samples` answers passed: 1 - C(n - c, k) / C(n, k).

    Raises `ValueError` unless 0 <= passed <= samples and 1 <= k <= samples.
    """
    if not 0 <= passed <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} can't be estimated from {passed} passed of {samples}")
    return 1.0 - comb(samples - passed, k) / comb(samples, k)


def mean_pass_at_k(passed: Sequence[int], samples: int, k: int) -> float:
    """The mean over rows, if `passed[i]` of the `samples` answers to row i passed. 0 if there are no rows."""
    return sum(pass_at_k(samples, count, k) for count in passed) / len(passed) if passed else 0.0


def reported_ks(samples: int) -> list[int]:
    """The values of k to report for this many samples per row."""
    return sorted({1, samples} | {k for k in (5, 10, 100) if k < samples})
