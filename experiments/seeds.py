"""What several seeds say together, for the tables of the experiments."""

from collections.abc import Sequence

from scipy import stats

from hopfield_attn.train.sweep.report import spread
from hopfield_attn.train.sweep.summary import mean_and_error


def over_seeds(values: Sequence[float], *, sign: str = "", digits: int = 4) -> str:
    """Mean ± standard error; the error of one seed is unknown."""
    return spread(mean_and_error(values), sign=sign, digits=digits)


def p_value(paired: Sequence[float]) -> float:
    """Of the two-sided t test for a mean of 0; 1 where it says nothing."""
    if len(paired) < 2:
        return 1.0
    if len(set(paired)) == 1:
        return 1.0 if paired[0] == 0 else 0.0
    return float(stats.ttest_1samp(paired, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[bool]:
    """Which of several comparisons count at 5 % together, by Holm's rule."""
    counts = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, index in enumerate(order):
        if p_values[index] > 0.05 / (len(p_values) - rank):
            break
        counts[index] = True
    return counts
