"""Metrics of questions with several candidates, one row a candidate."""

import numpy as np


def group_exact_match(predictions: np.ndarray, targets: np.ndarray, groups: np.ndarray) -> float:
    """Fraction of the groups in which every prediction is right.

    Args:
      predictions: one class a row.
      targets: one class a row.
      groups: number of each row's group; rows of a group need not be neighbours.

    Returns:
      The fraction.

    Example:
      >>> group_exact_match(np.array([1, 0, 1]), np.array([1, 0, 0]), np.array([7, 7, 9]))
      0.5
    """
    names, members = np.unique(groups, return_inverse=True)
    wrong = np.bincount(members, weights=predictions != targets, minlength=len(names))
    return float(np.mean(wrong == 0))


def best_of_groups(scores: np.ndarray, groups: np.ndarray) -> dict[int, int]:
    """Group → the row of its highest score; the first of equal ones.

    A score that is not a number is the lowest there is.

    Args:
      scores: one number a row.
      groups: number of each row's group; rows of a group need not be neighbours.

    Returns:
      Row numbers by group, in the order of the groups.

    Example:
      >>> best_of_groups(np.array([0.1, 0.7, 0.3]), np.array([2, 2, 5]))
      {2: 1, 5: 2}
    """
    order = np.lexsort((-np.where(np.isnan(scores), -np.inf, scores), groups))
    names, first = np.unique(groups[order], return_index=True)
    return {int(name): int(order[k]) for name, k in zip(names, first, strict=True)}
