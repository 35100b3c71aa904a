import warnings

import numpy as np
import pytest
from scipy import stats

from hopfield_attn.train.metrics import (
    METRICS,
    accuracy,
    f1,
    macro_f1,
    matthews_correlation,
    pearson,
    spearman,
)

CORRELATIONS = ("pearson", "spearman")
LABELS = ("accuracy", "f1", "matthews_correlation")


def confusion(predictions, targets):
    counts = {
        (p, t): sum(a == p and b == t for a, b in zip(predictions, targets, strict=True))
        for p in (0, 1)
        for t in (0, 1)
    }
    return counts[1, 1], counts[1, 0], counts[0, 1], counts[0, 0]


def average_ranks(values):
    return np.array([np.mean(np.flatnonzero(np.sort(values) == v)) for v in values])


def correlation(x, y):
    x, y = x - np.mean(x), y - np.mean(y)
    norm = np.sqrt(np.sum(x * x) * np.sum(y * y))
    return float(np.sum(x * y) / norm) if norm else 0.0


def binary_cases():
    """Every pair of 0/1 vectors of up to 4 entries: constant, equal and opposite ones included."""
    for size in range(1, 5):
        vectors = [np.array(v) for v in np.ndindex(*(2,) * size)]
        for predictions in vectors:
            for targets in vectors:
                yield predictions, targets


@pytest.mark.core
def test_label_metrics_follow_from_the_confusion_matrix():
    for predictions, targets in binary_cases():
        tp, fp, fn, tn = confusion(predictions, targets)
        assert accuracy(predictions, targets) == (tp + tn) / (tp + fp + fn + tn)
        precision, recall = tp / max(tp + fp, 1), tp / max(tp + fn, 1)
        harmonic = 2 * precision * recall / (precision + recall) if tp else 0.0
        assert f1(predictions, targets) == pytest.approx(harmonic)
        spread = np.sqrt(float((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))
        mcc = (tp * tn - fp * fn) / spread if spread else 0.0
        assert matthews_correlation(predictions, targets) == pytest.approx(mcc, abs=1e-12)


@pytest.mark.core
def test_accuracy_counts_equal_classes_of_any_number():
    assert accuracy(np.array([0, 1, 2, 2]), np.array([0, 2, 2, 1])) == 0.5


@pytest.mark.core
def test_macro_f1_is_the_mean_over_the_classes_that_occur():
    rng = np.random.default_rng(2)
    for _ in range(300):
        predictions, targets = rng.integers(int(rng.integers(1, 5)), size=(2, 6))
        scores = []
        for label in {*predictions.tolist(), *targets.tolist()}:
            tp, fp, fn, _ = confusion(predictions == label, targets == label)
            scores.append(2 * tp / (2 * tp + fp + fn))
        assert macro_f1(predictions, targets) == pytest.approx(np.mean(scores))


@pytest.mark.core
def test_correlations_follow_from_their_definition():
    rng = np.random.default_rng(0)
    for _ in range(200):
        size = int(rng.integers(2, 9))
        # Few values, so that there are ties and constant vectors.
        x, y = rng.integers(4, size=(2, size)) / 4
        assert pearson(x, y) == pytest.approx(correlation(x, y), abs=1e-9)
        ranks = average_ranks(x), average_ranks(y)
        assert spearman(x, y) == pytest.approx(correlation(*ranks), abs=1e-9)


@pytest.mark.core
@pytest.mark.parametrize("name", METRICS)
def test_constant_predictions_give_a_number_without_a_warning(name):
    for constant in (0, 1):
        predictions = np.full(6, constant)
        for targets in (np.array([0, 1, 1, 0, 1, 1]), np.zeros(6, int), np.ones(6, int)):
            value = METRICS[name](predictions, targets)
            if name in CORRELATIONS or name == "matthews_correlation":
                assert value == 0.0
            assert type(value) is float


@pytest.mark.heavy
def test_metrics_are_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    oracles = {
        "accuracy": sklearn.accuracy_score,
        "f1": lambda t, p: sklearn.f1_score(t, p, zero_division=0.0),
        "matthews_correlation": sklearn.matthews_corrcoef,
    }
    rng = np.random.default_rng(0)
    for case in range(1000):
        size = int(rng.integers(2, 40))
        shares = (0.0, 1.0, 0.5, rng.random())
        predictions, targets = (
            (rng.random(size) < shares[rng.integers(4)]).astype(int) for _ in range(2)
        )
        for name in LABELS:
            with warnings.catch_warnings():
                # About labels that do not occur; the values are what is compared.
                warnings.simplefilter("ignore")
                expected = oracles[name](targets, predictions)
            found = METRICS[name](predictions, targets)
            assert found == pytest.approx(expected, abs=1e-9), (name, case)
        scores = rng.normal(size=(2, size)).round(int(rng.integers(3)))
        if np.all(np.ptp(scores, axis=1) > 0):
            assert pearson(*scores) == pytest.approx(np.corrcoef(scores)[0, 1], abs=1e-9)
            ranks = [stats.rankdata(row) for row in scores]
            assert spearman(*scores) == pytest.approx(np.corrcoef(ranks)[0, 1], abs=1e-9)


@pytest.mark.heavy
def test_metrics_of_many_classes_are_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    for _ in range(1000):
        num_classes, size = int(rng.integers(1, 6)), int(rng.integers(1, 30))
        predictions, targets = rng.integers(num_classes, size=(2, size))
        assert macro_f1(predictions, targets) == pytest.approx(
            sklearn.f1_score(targets, predictions, average="macro", zero_division=0.0)
        )
        assert accuracy(predictions, targets) == pytest.approx(
            sklearn.accuracy_score(targets, predictions)
        )
