"""What counting words scores in masked-language modelling: the figures that a model must beat."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from hopfield_attn.data.tokenizer import SPECIAL_IDS


def unigram_accuracy(
    train_rows: Int[np.ndarray, "rows length"],
    eval_labels: Int[np.ndarray, "*slots"],
    eval_weights: Float[np.ndarray, "*slots"],
    *,
    special: Mapping[str, int] = SPECIAL_IDS,
) -> float:
    """Accuracy of always answering the most frequent ordinary token of the training rows.

    Args:
      train_rows: (rows, length) ids; special tokens are not counted.
      eval_labels: true ids, of any shape.
      eval_weights: weight of each label, of the same shape.
      special: ids of the special tokens.

    Returns:
      Weighted share of right answers, in [0, 1].

    Raises:
      ValueError: there is nothing to count, or the weights sum to 0.

    Example:
      >>> rows = np.array([[2, 7, 7, 8, 3]])
      >>> unigram_accuracy(rows, np.array([7, 8, 7, 9]), np.array([1.0, 1.0, 1.0, 1.0]))
      0.5
    """
    counts = _ordinary_counts(
        train_rows, num_ids=int(train_rows.max(initial=0)) + 1, special=special
    )
    return _weighted_mean(eval_labels == int(np.argmax(counts)), eval_weights)


def unigram_cross_entropy(
    train_rows: Int[np.ndarray, "rows length"],
    eval_labels: Int[np.ndarray, "*slots"],
    eval_weights: Float[np.ndarray, "*slots"],
    *,
    vocab_size: int,
    special: Mapping[str, int] = SPECIAL_IDS,
) -> float:
    """Loss of answering with the training frequencies: mean of -log((c_w + 1) / (N + V)).

    c_w counts the ordinary token w, N is their sum and V the number of ordinary tokens: adding
    one keeps the loss of unseen tokens finite.

    Args:
      train_rows: (rows, length) ids; special tokens are not counted.
      eval_labels: true ids, of any shape; those with weight must be ordinary.
      eval_weights: weight of each label, of the same shape.
      vocab_size: number of ids, special tokens included.
      special: ids of the special tokens.

    Returns:
      Cross-entropy in nats.

    Raises:
      ValueError: there is nothing to count, an id is out of range, or the weights sum to 0.

    Example:
      >>> rows = np.array([[2, 5, 5, 6, 3]])
      >>> round(float(np.exp(-unigram_cross_entropy(
      ...     rows, np.array([5]), np.array([1.0]), vocab_size=7))), 6)  # (2 + 1) / (3 + 2)
      0.6
    """
    counts = _ordinary_counts(train_rows, num_ids=vocab_size, special=special)
    weighted = eval_labels[eval_weights > 0]
    is_wrong = (weighted < 0) | (weighted >= vocab_size) | np.isin(weighted, list(special.values()))
    if is_wrong.any():
        raise ValueError(
            f"labels must be ordinary ids below {vocab_size}; got {weighted[is_wrong][0]}"
        )
    log_total = np.log(counts.sum() + vocab_size - len(special))
    return _weighted_mean(log_total - np.log(counts[eval_labels] + 1), eval_weights)


def _ordinary_counts(
    rows: Int[np.ndarray, "rows length"], *, num_ids: int, special: Mapping[str, int]
) -> Int[np.ndarray, " ids"]:
    counts = np.bincount(rows.ravel(), minlength=num_ids)
    if len(counts) > num_ids:
        raise ValueError(f"token ids must be below {num_ids}, got {len(counts) - 1}")
    counts[[i for i in special.values() if i < num_ids]] = 0
    if not counts.any():
        raise ValueError(f"expected ordinary tokens in rows of shape {rows.shape}, got none")
    return counts


def _weighted_mean(values: np.ndarray, weights: Float[np.ndarray, "*slots"]) -> float:
    total = float(weights.sum(dtype=np.float64))
    if total <= 0:
        raise ValueError(f"weights must have a positive sum, got {total}")
    return float((values * weights).sum(dtype=np.float64) / total)
