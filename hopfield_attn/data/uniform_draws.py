"""How often the values of uniform draws come: what a guess by frequency reaches."""

import numpy as np


def expected_largest_count(num_draws: int, num_values: int) -> float:
    """Mean over independent uniform draws of max_v #{draws equal to v}.

    Args:
      num_draws: draws, at least 1.
      num_values: equally likely values, at least 1.

    Example:
      >>> round(expected_largest_count(2, 4), 12)  # 2 with probability 1/4, else 1
      1.25
    """
    # Counts of uniform draws are independent Poisson variables given their sum, so that
    # P(all counts <= m) is a convolution power of the truncated Poisson distribution.
    ranks = np.arange(num_draws + 1)
    poisson = poisson_probabilities(num_draws / num_values, num_draws)
    unrestricted = convolution_power(poisson, num_values)[num_draws]
    below = [
        convolution_power(np.where(ranks <= m, poisson, 0.0), num_values)[num_draws]
        for m in range(num_draws)
    ]
    return float(np.sum(1 - np.array(below) / unrestricted))


def poisson_probabilities(rate: float, largest: int) -> np.ndarray:
    """Probabilities of 0, …, ``largest`` in the Poisson distribution.

    Example:
      >>> poisson_probabilities(0.0, 2)
      array([1., 0., 0.])
    """
    # In logarithms: e^−rate alone underflows from a rate of 745 on.
    if rate == 0:
        return np.eye(1, largest + 1)[0]
    ranks = np.arange(1, largest + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(rate) - np.log(ranks))])
    return np.exp(logs - rate)


def convolution_power(distribution: np.ndarray, exponent: int) -> np.ndarray:
    """Coefficients of the power of a polynomial, cut off at the length of its own.

    Example:
      >>> convolution_power(np.array([1.0, 1.0, 0.0]), 3)
      array([1., 3., 3.])
    """
    size = len(distribution)
    power = np.eye(1, size)[0]
    while exponent:
        if exponent % 2:
            power = np.convolve(power, distribution)[:size]
        distribution = np.convolve(distribution, distribution)[:size]
        exponent //= 2
    return np.asarray(power)
