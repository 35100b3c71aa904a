"""What several seeds say together, for the tables of the experiments."""

from collections.abc import Sequence

from scipy import stats

from hopfield_attn.train.sweep.report import spread
from hopfield_attn.train.sweep.summary import mean_and_error

EQUAL = 1e-9
"""Differences of metrics closer than this are equal but for rounding."""


def over_seeds(values: Sequence[float], *, sign: str = "", digits: int = 4) -> str:
    """Mean ± standard error; the error of one seed is unknown."""
    return spread(mean_and_error(values), sign=sign, digits=digits)


def p_value(paired: Sequence[float]) -> float:
    """Of the two-sided t test for a mean of 0; 1 where it says nothing.

    Differences that are all equal have no spread for it: a metric of few rows moves in steps. There
    it is the sign test's, 2/2ⁿ.
    """
    if len(paired) < 2 or not any(paired):
        return 1.0
    if max(paired) - min(paired) < EQUAL:
        return 2.0 ** (1 - len(paired))
    return float(stats.ttest_1samp(paired, 0.0).pvalue)


def holm(p_values: Sequence[float], *, planned: int = 0) -> list[bool]:
    """Which of several comparisons count at 5 % together, by Holm's rule.

    ``planned`` comparisons are to be made; one that is not made yet has p = 1.
    """
    num = max(planned, len(p_values))
    counts = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, index in enumerate(order):
        if p_values[index] > 0.05 / (num - rank):
            break
        counts[index] = True
    return counts
