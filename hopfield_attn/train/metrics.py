"""Evaluation metrics on numpy arrays: predictions and targets → one number.

Definitions follow scikit-learn: a score whose denominator is zero is 0.
"""

from collections.abc import Callable

import numpy as np
from scipy import stats


def accuracy(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Fraction of equal entries.

    Example:
      >>> accuracy(np.array([1, 0, 1]), np.array([1, 1, 1]))
      0.6666666666666666
    """
    return float(np.mean(predictions == targets))


def f1(predictions: np.ndarray, targets: np.ndarray) -> float:
    """F1 of class 1: 2 TP / (2 TP + FP + FN).

    Example:
      >>> f1(np.array([1, 0, 1]), np.array([1, 1, 1]))
      0.8
    """
    true_positives = np.sum((predictions == 1) & (targets == 1))
    marked = np.sum(predictions == 1) + np.sum(targets == 1)
    return float(2 * true_positives / marked) if marked else 0.0


def macro_f1(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Mean of the F1 of every class that occurs in the predictions or the targets.

    Example:
      >>> macro_f1(np.array([0, 1, 2]), np.array([0, 1, 1]))
      0.5555555555555555
    """
    classes = np.union1d(predictions, targets)
    return float(np.mean([f1(predictions == c, targets == c) for c in classes]))


def matthews_correlation(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Matthews correlation coefficient of two classes 0 and 1.

    Example:
      >>> matthews_correlation(np.array([1, 0, 1, 0]), np.array([1, 0, 0, 0]))
      0.5773502691896258
    """
    p, t = (np.asarray(a, float) for a in (predictions, targets))
    spread = np.std(p) * np.std(t)
    return float(np.mean((p - p.mean()) * (t - t.mean())) / spread) if spread else 0.0


def pearson(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Pearson correlation; 0 where one side is constant.

    Example:
      >>> round(pearson(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])), 6)
      1.0
    """
    if np.ptp(predictions) == 0 or np.ptp(targets) == 0:
        return 0.0
    return float(stats.pearsonr(predictions, targets).statistic)


def spearman(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Spearman rank correlation, ties ranked by their mean; 0 where one side is constant.

    Example:
      >>> round(spearman(np.array([1.0, 2.0, 9.0]), np.array([2.0, 4.0, 5.0])), 6)
      1.0
    """
    if np.ptp(predictions) == 0 or np.ptp(targets) == 0:
        return 0.0
    return float(stats.spearmanr(predictions, targets).statistic)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy,
    "f1": f1,
    "macro_f1": macro_f1,
    "matthews_correlation": matthews_correlation,
    "pearson": pearson,
    "spearman": spearman,
}
"""Metric name → function."""
