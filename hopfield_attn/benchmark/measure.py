"""Times a candidate and the baseline in turns, so that a drift of the machine cancels."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hopfield_attn.benchmark.candidates import Program

_FEWEST_ROUNDS, _MOST_ROUNDS = 3, 60


def measure(
    candidate: Program,
    baseline: Program,
    *,
    rounds: int,
    seconds: float = 0.5,
    seconds_at_most: float = 8.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Runs baseline and candidate alternately; the first round of each is left out.

    Args:
      candidate: what is measured.
      baseline: what its ratio refers to.
      rounds: at least so many.
      seconds: go on until the candidate took so long altogether (at most 60 rounds).
      seconds_at_most: no new round after so long, from the third round on.
      clock: in seconds.

    Returns:
      ``median_ms``, ``iqr`` (its quartiles), ``baseline_ms``, ``ratio`` (the median over the rounds
      of candidate / baseline), ``ratio_iqr`` (quartiles) and ``rounds``.
    """

    def timed(program: Program) -> float:
        began = clock()
        program.run()
        return clock() - began

    timed(baseline), timed(candidate)
    began = clock()
    pairs: list[tuple[float, float]] = []
    while len(pairs) < _MOST_ROUNDS:
        taken = sum(candidate_s for _, candidate_s in pairs)
        if len(pairs) >= rounds and taken >= seconds:
            break
        if len(pairs) >= _FEWEST_ROUNDS and clock() - began > seconds_at_most:
            break
        # The order alternates too: neither always runs on the other's warm caches.
        if len(pairs) % 2:
            candidate_s = timed(candidate)
            pairs.append((timed(baseline), candidate_s))
        else:
            pairs.append((timed(baseline), timed(candidate)))
    baseline_s, candidate_s = np.array(pairs).T
    return {
        "median_ms": _rounded(1e3 * np.median(candidate_s)),
        "iqr": _quartiles(1e3 * candidate_s),
        "baseline_ms": _rounded(1e3 * np.median(baseline_s)),
        "ratio": _rounded(np.median(candidate_s / baseline_s)),
        "ratio_iqr": _quartiles(candidate_s / baseline_s),
        "rounds": len(pairs),
    }


def _quartiles(values: np.ndarray) -> list[float]:
    return [_rounded(value) for value in np.quantile(values, [0.25, 0.75])]


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
