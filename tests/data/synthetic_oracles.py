"""What the tests of all generated tasks share: draws of many examples, and a guesser's accuracy."""

import numpy as np

from hopfield_attn.data.batches import stack_elements
from hopfield_attn.data.synthetic import synthetic_examples


def draw(task, num_examples, seed=0):
    """Columns of examples: name → (num_examples, …)."""
    source = synthetic_examples(task, num_examples=num_examples, seed=seed)
    return stack_elements([source[i] for i in range(num_examples)])


def accuracy_of(guess, rows):
    """Share of the answers that ``guess(tokens, positions)`` → (q,) gives right, and its error.

    The error is four standard errors of a mean over independent examples.
    """
    right = [
        np.mean(guess(tokens, positions) == labels)
        for tokens, positions, labels in zip(
            rows["tokens"], rows["positions"], rows["labels"], strict=True
        )
    ]
    return np.mean(right), 4 * np.std(right) / np.sqrt(len(right))
