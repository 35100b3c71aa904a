import itertools
from collections import Counter

import numpy as np
import pytest

from hopfield_attn.data.match import share_of_yes
from hopfield_attn.data.uniform_draws import expected_largest_count


@pytest.mark.parametrize(("num_draws", "num_values"), [(1, 2), (2, 3), (3, 2), (5, 3), (4, 6)])
def test_largest_count_is_the_mean_over_all_draws(num_draws, num_values):
    draws = itertools.product(range(num_values), repeat=num_draws)
    counts = [max(Counter(draw).values()) for draw in draws]
    assert expected_largest_count(num_draws, num_values) == pytest.approx(
        np.mean(counts), rel=1e-10
    )


def test_largest_count_of_many_draws_is_plausible():
    # At least one value is drawn, hardly ever more than six times.
    assert 2 < expected_largest_count(200, 500) < 6


def test_many_draws_of_few_values_do_not_underflow():
    # The larger of n heads and n tails: n/2 + sqrt(n/(2π)) for many draws.
    count = expected_largest_count(1600, 2)
    assert count == pytest.approx(800 + np.sqrt(1600 / (2 * np.pi)), abs=0.01)
    assert 0 < share_of_yes(order=3, num_tokens=900, modulus=500_000) < 1
