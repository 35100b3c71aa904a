"""Generated tasks whose answers have known source tokens: the interface, and their examples.

An example has one or more *queries*: positions of the sequence at which an answer is due. The
*sources* of a query are the positions of the tokens that its answer is read from, known because
the example was made from them. Attention can be held against them
(:mod:`hopfield_attn.analysis.source_mass`).
"""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from hopfield_attn.data.source import Element
from hopfield_attn.data.tokenizer import NUM_SPECIAL, SPECIAL_TOKENS


@runtime_checkable
class SyntheticTask(Protocol):
    """The difficulty of a generated task, and how one example of it is drawn."""

    @property
    def length(self) -> int:
        """Tokens in a sequence, the same in all examples."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids, the special tokens included."""

    @property
    def num_outputs(self) -> int:
        """Number of possible answers; labels are 0, …, num_outputs − 1."""

    @property
    def baselines(self) -> dict[str, float]:
        """Expected accuracies without a model, by name.

        ``chance_accuracy`` is that of the best fixed answer, ``best_accuracy`` that of the best
        answer from the whole sequence; between them stand those of the cheats: answers that leave
        out what the task is about.
        """

    def token_name(self, token_id: int) -> str:
        """A token as a reader knows it, such as ``k3`` for the third key."""

    def draw(self, rng: np.random.Generator) -> Element:
        """Draws one example, as :func:`query_example` makes it."""


@dataclass(frozen=True, kw_only=True)
class SyntheticExamples:
    """Generated examples, made when they are asked for.

    Example i is a function of (task, seed, i): more examples don't change the first ones.
    See :func:`synthetic_examples`.
    """

    task: SyntheticTask
    num_examples: int
    seed: int

    def __len__(self) -> int:
        """Returns the number of examples."""
        return self.num_examples

    def __getitem__(self, index: int, /) -> Element:
        """Returns example ``index``."""
        i = operator.index(index)
        if not -self.num_examples <= i < self.num_examples:
            raise IndexError(f"index must be below {self.num_examples}, got {i}")
        return self.task.draw(np.random.default_rng((self.seed, i % self.num_examples)))


def synthetic_examples(task: SyntheticTask, *, num_examples: int, seed: int) -> SyntheticExamples:
    """Makes a random-access source of examples; give training and evaluation different seeds.

    Args:
      task: what to draw.
      num_examples: length of the source.
      seed: non-negative.

    Returns:
      A source of elements as :func:`query_example` makes them.

    Raises:
      ValueError: ``num_examples`` is not positive or ``seed`` is negative.

    Example:
      >>> from hopfield_attn.data.recall import RecallTask
      >>> task = RecallTask(num_pairs=2, num_keys=10, num_values=4, num_queries=1)
      >>> example = synthetic_examples(task, num_examples=100, seed=0)[3]
      >>> example["tokens"]
      array([ 2,  9, 18, 13, 17,  3,  9,  3], dtype=int32)
      >>> example["positions"], example["labels"], np.flatnonzero(example["sources"][0])
      (array([6], dtype=int32), array([3], dtype=int32), array([1, 2]))
    """
    if num_examples < 1 or operator.index(seed) < 0:
        raise ValueError(
            f"num_examples must be at least 1 and seed at least 0, got {num_examples} and {seed}"
        )
    return SyntheticExamples(task=task, num_examples=num_examples, seed=seed)


def query_example(
    tokens: np.ndarray,
    *,
    positions: np.ndarray,
    labels: np.ndarray,
    sources: np.ndarray,
    question_start: int,
) -> Element:
    """The arrays of one example with q queries in n tokens.

    Args:
      tokens: (n,) ids.
      positions: (q,) where the answers are due.
      labels: (q,) the answers.
      sources: (q, n), True at the positions that an answer is read from; a row may be empty.
      question_start: token types are 0 before this position and 1 from it on.

    Returns:
      ``tokens`` and ``token_types`` (n,) int32; ``mask`` (n,) bool, all True; ``positions`` and
      ``labels`` (q,) int32; ``sources`` (q, n) bool.
    """
    return {
        "tokens": np.asarray(tokens, np.int32),
        "mask": np.ones(len(tokens), np.bool_),
        "token_types": (np.arange(len(tokens)) >= question_start).astype(np.int32),
        "positions": np.asarray(positions, np.int32),
        "labels": np.asarray(labels, np.int32),
        "sources": np.asarray(sources, np.bool_),
    }


def name_token(token_id: int, letters: Mapping[str, int]) -> str:
    """Names a token by its kind and its number in it; special tokens by their names.

    Args:
      token_id: the id.
      letters: letter of a kind → its first id, in the order of the ids.

    Example:
      >>> [name_token(k, {"k": 5, "v": 15}) for k in (2, 5, 14, 17)]
      ['[CLS]', 'k0', 'k9', 'v2']
    """
    name = SPECIAL_TOKENS[token_id] if token_id < NUM_SPECIAL else str(token_id)
    for letter, first in letters.items():
        if token_id >= first:
            name = f"{letter}{token_id - first}"
    return name


def mark_sources(places: np.ndarray, *, length: int) -> np.ndarray:
    """Turns the source positions of each query into a mask.

    Args:
      places: (q, k) positions.
      length: n.

    Returns:
      (q, n) bool.

    Example:
      >>> mark_sources(np.array([[0, 2]]), length=4)
      array([[ True, False,  True, False]])
    """
    mask = np.zeros((len(places), length), np.bool_)
    np.put_along_axis(mask, places, values=True, axis=1)
    return mask
